// Original file: kvant/v1/generation.proto

import type { Long } from '@grpc/proto-loader';

export interface TensorClass {
  'name'?: (string);
  'format'?: (string);
  'activations'?: (string);
  'isQuantized'?: (boolean);
  'tensorCount'?: (number);
  'elementCount'?: (number | string | Long);
  'bytes'?: (number | string | Long);
}

export interface TensorClass__Output {
  'name': (string);
  'format': (string);
  'activations': (string);
  'isQuantized': (boolean);
  'tensorCount': (number);
  'elementCount': (number);
  'bytes': (number);
}
