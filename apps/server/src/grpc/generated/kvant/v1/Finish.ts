// Original file: kvant/v1/generation.proto

import type { FinishReason as _kvant_v1_FinishReason, FinishReason__Output as _kvant_v1_FinishReason__Output } from '../../kvant/v1/FinishReason.ts';

export interface Finish {
  'index'?: (number);
  'reason'?: (_kvant_v1_FinishReason);
  'stopText'?: (string);
  'stopTokenId'?: (number);
  'matched'?: "stopText"|"stopTokenId";
}

export interface Finish__Output {
  'index': (number);
  'reason': (_kvant_v1_FinishReason__Output);
  'stopText'?: (string);
  'stopTokenId'?: (number);
  'matched'?: "stopText"|"stopTokenId";
}
