// Original file: kvant/v1/generation.proto

import type { Long } from '@grpc/proto-loader';

export interface Usage {
  'promptTokens'?: (number | string | Long);
  'cachedTokens'?: (number | string | Long);
  'completionTokens'?: (number | string | Long);
}

export interface Usage__Output {
  'promptTokens': (number);
  'cachedTokens': (number);
  'completionTokens': (number);
}
