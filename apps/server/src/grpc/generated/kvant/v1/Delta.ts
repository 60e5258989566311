// Original file: kvant/v1/generation.proto

import type { TokenLogprob as _kvant_v1_TokenLogprob, TokenLogprob__Output as _kvant_v1_TokenLogprob__Output } from '../../kvant/v1/TokenLogprob.ts';

export interface Delta {
  'index'?: (number);
  'text'?: (string);
  'tokenIds'?: (number)[];
  'logprobs'?: (_kvant_v1_TokenLogprob)[];
}

export interface Delta__Output {
  'index': (number);
  'text': (string);
  'tokenIds': (number)[];
  'logprobs': (_kvant_v1_TokenLogprob__Output)[];
}
