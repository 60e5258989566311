// Original file: kvant/v1/generation.proto

import type { Delta as _kvant_v1_Delta, Delta__Output as _kvant_v1_Delta__Output } from '../../kvant/v1/Delta.ts';
import type { Finish as _kvant_v1_Finish, Finish__Output as _kvant_v1_Finish__Output } from '../../kvant/v1/Finish.ts';
import type { Done as _kvant_v1_Done, Done__Output as _kvant_v1_Done__Output } from '../../kvant/v1/Done.ts';

export interface GenerateResponse {
  'delta'?: (_kvant_v1_Delta | null);
  'finish'?: (_kvant_v1_Finish | null);
  'done'?: (_kvant_v1_Done | null);
  'event'?: "delta"|"finish"|"done";
}

export interface GenerateResponse__Output {
  'delta'?: (_kvant_v1_Delta__Output | null);
  'finish'?: (_kvant_v1_Finish__Output | null);
  'done'?: (_kvant_v1_Done__Output | null);
  'event'?: "delta"|"finish"|"done";
}
