// Original file: kvant/v1/generation.proto


export interface ChatMessage {
  'role'?: (string);
  'content'?: (string);
  'name'?: (string);
  '_name'?: "name";
}

export interface ChatMessage__Output {
  'role': (string);
  'content': (string);
  'name'?: (string);
  '_name'?: "name";
}
