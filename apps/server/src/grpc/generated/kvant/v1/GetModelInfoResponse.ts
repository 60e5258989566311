// Original file: kvant/v1/generation.proto

import type { TensorClass as _kvant_v1_TensorClass, TensorClass__Output as _kvant_v1_TensorClass__Output } from '../../kvant/v1/TensorClass.ts';
import type { KvCache as _kvant_v1_KvCache, KvCache__Output as _kvant_v1_KvCache__Output } from '../../kvant/v1/KvCache.ts';
import type { Long } from '@grpc/proto-loader';

export interface GetModelInfoResponse {
  'name'?: (string);
  'architecture'?: (string);
  'contextLength'?: (number);
  'vocabularySize'?: (number);
  'weights'?: (string);
  'activations'?: (string);
  'kvFormat'?: (string);
  'device'?: (string);
  'backend'?: (string);
  'tier'?: (string);
  'threads'?: (number);
  'hasTokenizer'?: (boolean);
  'hasChatTemplate'?: (boolean);
  'tensorClasses'?: (_kvant_v1_TensorClass)[];
  'kvCache'?: (_kvant_v1_KvCache | null);
  'weightBytes'?: ({[key: string]: number | string | Long});
  'activationBytes'?: (number | string | Long);
  'loadSeconds'?: (number | string);
  'deterministic'?: (boolean);
}

export interface GetModelInfoResponse__Output {
  'name': (string);
  'architecture': (string);
  'contextLength': (number);
  'vocabularySize': (number);
  'weights': (string);
  'activations': (string);
  'kvFormat': (string);
  'device': (string);
  'backend': (string);
  'tier': (string);
  'threads': (number);
  'hasTokenizer': (boolean);
  'hasChatTemplate': (boolean);
  'tensorClasses': (_kvant_v1_TensorClass__Output)[];
  'kvCache': (_kvant_v1_KvCache__Output | null);
  'weightBytes': ({[key: string]: number});
  'activationBytes': (number);
  'loadSeconds': (number);
  'deterministic': (boolean);
}
