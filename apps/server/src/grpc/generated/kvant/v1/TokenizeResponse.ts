// Original file: kvant/v1/generation.proto


export interface TokenizeResponse {
  'tokenIds'?: (number)[];
  'contextLength'?: (number);
}

export interface TokenizeResponse__Output {
  'tokenIds': (number)[];
  'contextLength': (number);
}
