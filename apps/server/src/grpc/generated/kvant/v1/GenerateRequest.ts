// Original file: kvant/v1/generation.proto

import type { TokenIds as _kvant_v1_TokenIds, TokenIds__Output as _kvant_v1_TokenIds__Output } from '../../kvant/v1/TokenIds.ts';
import type { Chat as _kvant_v1_Chat, Chat__Output as _kvant_v1_Chat__Output } from '../../kvant/v1/Chat.ts';
import type { SamplingOptions as _kvant_v1_SamplingOptions, SamplingOptions__Output as _kvant_v1_SamplingOptions__Output } from '../../kvant/v1/SamplingOptions.ts';
import type { StoppingOptions as _kvant_v1_StoppingOptions, StoppingOptions__Output as _kvant_v1_StoppingOptions__Output } from '../../kvant/v1/StoppingOptions.ts';

export interface GenerateRequest {
  'model'?: (string);
  'text'?: (string);
  'tokenIds'?: (_kvant_v1_TokenIds | null);
  'chat'?: (_kvant_v1_Chat | null);
  'sampling'?: (_kvant_v1_SamplingOptions | null);
  'stopping'?: (_kvant_v1_StoppingOptions | null);
  'n'?: (number);
  'logprobs'?: (number);
  'cacheSalt'?: (string);
  'priority'?: (number);
  'prompt'?: "text"|"tokenIds"|"chat";
  '_n'?: "n";
  '_logprobs'?: "logprobs";
  '_cacheSalt'?: "cacheSalt";
  '_priority'?: "priority";
}

export interface GenerateRequest__Output {
  'model': (string);
  'text'?: (string);
  'tokenIds'?: (_kvant_v1_TokenIds__Output | null);
  'chat'?: (_kvant_v1_Chat__Output | null);
  'sampling': (_kvant_v1_SamplingOptions__Output | null);
  'stopping': (_kvant_v1_StoppingOptions__Output | null);
  'n'?: (number);
  'logprobs'?: (number);
  'cacheSalt'?: (string);
  'priority'?: (number);
  'prompt'?: "text"|"tokenIds"|"chat";
  '_n'?: "n";
  '_logprobs'?: "logprobs";
  '_cacheSalt'?: "cacheSalt";
  '_priority'?: "priority";
}
