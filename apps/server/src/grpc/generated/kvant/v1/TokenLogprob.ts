// Original file: kvant/v1/generation.proto

import type { TokenLogprob as _kvant_v1_TokenLogprob, TokenLogprob__Output as _kvant_v1_TokenLogprob__Output } from '../../kvant/v1/TokenLogprob.ts';

export interface TokenLogprob {
  'tokenId'?: (number);
  'text'?: (string);
  'bytes'?: (Buffer | Uint8Array | string);
  'logprob'?: (number | string);
  'top'?: (_kvant_v1_TokenLogprob)[];
}

export interface TokenLogprob__Output {
  'tokenId': (number);
  'text': (string);
  'bytes': (Buffer);
  'logprob': (number);
  'top': (_kvant_v1_TokenLogprob__Output)[];
}
