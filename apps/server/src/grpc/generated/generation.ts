import type * as grpc from '@grpc/grpc-js';
import type { EnumTypeDefinition, MessageTypeDefinition } from '@grpc/proto-loader';

import type { Chat as _kvant_v1_Chat, Chat__Output as _kvant_v1_Chat__Output } from './kvant/v1/Chat.ts';
import type { ChatMessage as _kvant_v1_ChatMessage, ChatMessage__Output as _kvant_v1_ChatMessage__Output } from './kvant/v1/ChatMessage.ts';
import type { Delta as _kvant_v1_Delta, Delta__Output as _kvant_v1_Delta__Output } from './kvant/v1/Delta.ts';
import type { Done as _kvant_v1_Done, Done__Output as _kvant_v1_Done__Output } from './kvant/v1/Done.ts';
import type { Finish as _kvant_v1_Finish, Finish__Output as _kvant_v1_Finish__Output } from './kvant/v1/Finish.ts';
import type { GenerateRequest as _kvant_v1_GenerateRequest, GenerateRequest__Output as _kvant_v1_GenerateRequest__Output } from './kvant/v1/GenerateRequest.ts';
import type { GenerateResponse as _kvant_v1_GenerateResponse, GenerateResponse__Output as _kvant_v1_GenerateResponse__Output } from './kvant/v1/GenerateResponse.ts';
import type { GenerationServiceClient as _kvant_v1_GenerationServiceClient, GenerationServiceDefinition as _kvant_v1_GenerationServiceDefinition } from './kvant/v1/GenerationService.ts';
import type { GetModelInfoRequest as _kvant_v1_GetModelInfoRequest, GetModelInfoRequest__Output as _kvant_v1_GetModelInfoRequest__Output } from './kvant/v1/GetModelInfoRequest.ts';
import type { GetModelInfoResponse as _kvant_v1_GetModelInfoResponse, GetModelInfoResponse__Output as _kvant_v1_GetModelInfoResponse__Output } from './kvant/v1/GetModelInfoResponse.ts';
import type { KvCache as _kvant_v1_KvCache, KvCache__Output as _kvant_v1_KvCache__Output } from './kvant/v1/KvCache.ts';
import type { SamplingOptions as _kvant_v1_SamplingOptions, SamplingOptions__Output as _kvant_v1_SamplingOptions__Output } from './kvant/v1/SamplingOptions.ts';
import type { StoppingOptions as _kvant_v1_StoppingOptions, StoppingOptions__Output as _kvant_v1_StoppingOptions__Output } from './kvant/v1/StoppingOptions.ts';
import type { TensorClass as _kvant_v1_TensorClass, TensorClass__Output as _kvant_v1_TensorClass__Output } from './kvant/v1/TensorClass.ts';
import type { Timings as _kvant_v1_Timings, Timings__Output as _kvant_v1_Timings__Output } from './kvant/v1/Timings.ts';
import type { TokenIds as _kvant_v1_TokenIds, TokenIds__Output as _kvant_v1_TokenIds__Output } from './kvant/v1/TokenIds.ts';
import type { TokenLogprob as _kvant_v1_TokenLogprob, TokenLogprob__Output as _kvant_v1_TokenLogprob__Output } from './kvant/v1/TokenLogprob.ts';
import type { TokenizeRequest as _kvant_v1_TokenizeRequest, TokenizeRequest__Output as _kvant_v1_TokenizeRequest__Output } from './kvant/v1/TokenizeRequest.ts';
import type { TokenizeResponse as _kvant_v1_TokenizeResponse, TokenizeResponse__Output as _kvant_v1_TokenizeResponse__Output } from './kvant/v1/TokenizeResponse.ts';
import type { Usage as _kvant_v1_Usage, Usage__Output as _kvant_v1_Usage__Output } from './kvant/v1/Usage.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  kvant: {
    v1: {
      Chat: MessageTypeDefinition<_kvant_v1_Chat, _kvant_v1_Chat__Output>
      ChatMessage: MessageTypeDefinition<_kvant_v1_ChatMessage, _kvant_v1_ChatMessage__Output>
      Delta: MessageTypeDefinition<_kvant_v1_Delta, _kvant_v1_Delta__Output>
      Done: MessageTypeDefinition<_kvant_v1_Done, _kvant_v1_Done__Output>
      Finish: MessageTypeDefinition<_kvant_v1_Finish, _kvant_v1_Finish__Output>
      FinishReason: EnumTypeDefinition
      GenerateRequest: MessageTypeDefinition<_kvant_v1_GenerateRequest, _kvant_v1_GenerateRequest__Output>
      GenerateResponse: MessageTypeDefinition<_kvant_v1_GenerateResponse, _kvant_v1_GenerateResponse__Output>
      GenerationService: SubtypeConstructor<typeof grpc.Client, _kvant_v1_GenerationServiceClient> & { service: _kvant_v1_GenerationServiceDefinition }
      GetModelInfoRequest: MessageTypeDefinition<_kvant_v1_GetModelInfoRequest, _kvant_v1_GetModelInfoRequest__Output>
      GetModelInfoResponse: MessageTypeDefinition<_kvant_v1_GetModelInfoResponse, _kvant_v1_GetModelInfoResponse__Output>
      KvCache: MessageTypeDefinition<_kvant_v1_KvCache, _kvant_v1_KvCache__Output>
      SamplingOptions: MessageTypeDefinition<_kvant_v1_SamplingOptions, _kvant_v1_SamplingOptions__Output>
      StoppingOptions: MessageTypeDefinition<_kvant_v1_StoppingOptions, _kvant_v1_StoppingOptions__Output>
      TensorClass: MessageTypeDefinition<_kvant_v1_TensorClass, _kvant_v1_TensorClass__Output>
      Timings: MessageTypeDefinition<_kvant_v1_Timings, _kvant_v1_Timings__Output>
      TokenIds: MessageTypeDefinition<_kvant_v1_TokenIds, _kvant_v1_TokenIds__Output>
      TokenLogprob: MessageTypeDefinition<_kvant_v1_TokenLogprob, _kvant_v1_TokenLogprob__Output>
      TokenizeRequest: MessageTypeDefinition<_kvant_v1_TokenizeRequest, _kvant_v1_TokenizeRequest__Output>
      TokenizeResponse: MessageTypeDefinition<_kvant_v1_TokenizeResponse, _kvant_v1_TokenizeResponse__Output>
      Usage: MessageTypeDefinition<_kvant_v1_Usage, _kvant_v1_Usage__Output>
    }
  }
}

