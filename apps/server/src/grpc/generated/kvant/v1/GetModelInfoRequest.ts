// Original file: kvant/v1/generation.proto


export interface GetModelInfoRequest {
  'model'?: (string);
}

export interface GetModelInfoRequest__Output {
  'model': (string);
}
