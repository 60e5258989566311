// Original file: kvant/v1/generation.proto


export interface Timings {
  'queueSeconds'?: (number | string);
  'prefillSeconds'?: (number | string);
  'decodeSeconds'?: (number | string);
}

export interface Timings__Output {
  'queueSeconds': (number);
  'prefillSeconds': (number);
  'decodeSeconds': (number);
}
