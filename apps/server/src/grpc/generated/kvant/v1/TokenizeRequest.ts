// Original file: kvant/v1/generation.proto

import type { Chat as _kvant_v1_Chat, Chat__Output as _kvant_v1_Chat__Output } from '../../kvant/v1/Chat.ts';

export interface TokenizeRequest {
  'model'?: (string);
  'text'?: (string);
  'chat'?: (_kvant_v1_Chat | null);
  'addSpecialTokens'?: (boolean);
  'prompt'?: "text"|"chat";
  '_addSpecialTokens'?: "addSpecialTokens";
}

export interface TokenizeRequest__Output {
  'model': (string);
  'text'?: (string);
  'chat'?: (_kvant_v1_Chat__Output | null);
  'addSpecialTokens'?: (boolean);
  'prompt'?: "text"|"chat";
  '_addSpecialTokens'?: "addSpecialTokens";
}
