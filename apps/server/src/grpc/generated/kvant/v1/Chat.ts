// Original file: kvant/v1/generation.proto

import type { ChatMessage as _kvant_v1_ChatMessage, ChatMessage__Output as _kvant_v1_ChatMessage__Output } from '../../kvant/v1/ChatMessage.ts';

export interface Chat {
  'messages'?: (_kvant_v1_ChatMessage)[];
  'addGenerationPrompt'?: (boolean);
  '_addGenerationPrompt'?: "addGenerationPrompt";
}

export interface Chat__Output {
  'messages': (_kvant_v1_ChatMessage__Output)[];
  'addGenerationPrompt'?: (boolean);
  '_addGenerationPrompt'?: "addGenerationPrompt";
}
