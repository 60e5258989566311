// Original file: kvant/v1/generation.proto

import type { Usage as _kvant_v1_Usage, Usage__Output as _kvant_v1_Usage__Output } from '../../kvant/v1/Usage.ts';
import type { Timings as _kvant_v1_Timings, Timings__Output as _kvant_v1_Timings__Output } from '../../kvant/v1/Timings.ts';

export interface Done {
  'usage'?: (_kvant_v1_Usage | null);
  'timings'?: (_kvant_v1_Timings | null);
}

export interface Done__Output {
  'usage': (_kvant_v1_Usage__Output | null);
  'timings': (_kvant_v1_Timings__Output | null);
}
