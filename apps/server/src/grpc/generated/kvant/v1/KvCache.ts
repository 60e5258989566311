// Original file: kvant/v1/generation.proto

import type { Long } from '@grpc/proto-loader';

export interface KvCache {
  'pageTokens'?: (number);
  'pageCount'?: (number);
  'codeBytes'?: (number | string | Long);
  'scaleBytes'?: (number | string | Long);
}

export interface KvCache__Output {
  'pageTokens': (number);
  'pageCount': (number);
  'codeBytes': (number);
  'scaleBytes': (number);
}
