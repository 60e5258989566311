// Original file: kvant/v1/generation.proto

import type { Long } from '@grpc/proto-loader';

export interface SamplingOptions {
  'temperature'?: (number | string);
  'topP'?: (number | string);
  'topK'?: (number);
  'minP'?: (number | string);
  'repetitionPenalty'?: (number | string);
  'frequencyPenalty'?: (number | string);
  'presencePenalty'?: (number | string);
  'logitBias'?: ({[key: number]: number | string});
  'seed'?: (number | string | Long);
  '_temperature'?: "temperature";
  '_topP'?: "topP";
  '_topK'?: "topK";
  '_minP'?: "minP";
  '_repetitionPenalty'?: "repetitionPenalty";
  '_frequencyPenalty'?: "frequencyPenalty";
  '_presencePenalty'?: "presencePenalty";
  '_seed'?: "seed";
}

export interface SamplingOptions__Output {
  'temperature'?: (number);
  'topP'?: (number);
  'topK'?: (number);
  'minP'?: (number);
  'repetitionPenalty'?: (number);
  'frequencyPenalty'?: (number);
  'presencePenalty'?: (number);
  'logitBias': ({[key: number]: number});
  'seed'?: (number);
  '_temperature'?: "temperature";
  '_topP'?: "topP";
  '_topK'?: "topK";
  '_minP'?: "minP";
  '_repetitionPenalty'?: "repetitionPenalty";
  '_frequencyPenalty'?: "frequencyPenalty";
  '_presencePenalty'?: "presencePenalty";
  '_seed'?: "seed";
}
