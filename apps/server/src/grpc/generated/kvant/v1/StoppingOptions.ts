// Original file: kvant/v1/generation.proto


export interface StoppingOptions {
  'maxTokens'?: (number);
  'minTokens'?: (number);
  'stop'?: (string)[];
  'stopTokenIds'?: (number)[];
  'ignoreEos'?: (boolean);
  '_maxTokens'?: "maxTokens";
  '_minTokens'?: "minTokens";
  '_ignoreEos'?: "ignoreEos";
}

export interface StoppingOptions__Output {
  'maxTokens'?: (number);
  'minTokens'?: (number);
  'stop': (string)[];
  'stopTokenIds': (number)[];
  'ignoreEos'?: (boolean);
  '_maxTokens'?: "maxTokens";
  '_minTokens'?: "minTokens";
  '_ignoreEos'?: "ignoreEos";
}
