// Original file: kvant/v1/generation.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { GenerateRequest as _kvant_v1_GenerateRequest, GenerateRequest__Output as _kvant_v1_GenerateRequest__Output } from '../../kvant/v1/GenerateRequest.ts';
import type { GenerateResponse as _kvant_v1_GenerateResponse, GenerateResponse__Output as _kvant_v1_GenerateResponse__Output } from '../../kvant/v1/GenerateResponse.ts';
import type { GetModelInfoRequest as _kvant_v1_GetModelInfoRequest, GetModelInfoRequest__Output as _kvant_v1_GetModelInfoRequest__Output } from '../../kvant/v1/GetModelInfoRequest.ts';
import type { GetModelInfoResponse as _kvant_v1_GetModelInfoResponse, GetModelInfoResponse__Output as _kvant_v1_GetModelInfoResponse__Output } from '../../kvant/v1/GetModelInfoResponse.ts';
import type { TokenizeRequest as _kvant_v1_TokenizeRequest, TokenizeRequest__Output as _kvant_v1_TokenizeRequest__Output } from '../../kvant/v1/TokenizeRequest.ts';
import type { TokenizeResponse as _kvant_v1_TokenizeResponse, TokenizeResponse__Output as _kvant_v1_TokenizeResponse__Output } from '../../kvant/v1/TokenizeResponse.ts';

export interface GenerationServiceClient extends grpc.Client {
  Generate(argument: _kvant_v1_GenerateRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_kvant_v1_GenerateResponse__Output>;
  Generate(argument: _kvant_v1_GenerateRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_kvant_v1_GenerateResponse__Output>;
  generate(argument: _kvant_v1_GenerateRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_kvant_v1_GenerateResponse__Output>;
  generate(argument: _kvant_v1_GenerateRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_kvant_v1_GenerateResponse__Output>;
  
  GetModelInfo(argument: _kvant_v1_GetModelInfoRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  GetModelInfo(argument: _kvant_v1_GetModelInfoRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  GetModelInfo(argument: _kvant_v1_GetModelInfoRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  GetModelInfo(argument: _kvant_v1_GetModelInfoRequest, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  getModelInfo(argument: _kvant_v1_GetModelInfoRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  getModelInfo(argument: _kvant_v1_GetModelInfoRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  getModelInfo(argument: _kvant_v1_GetModelInfoRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  getModelInfo(argument: _kvant_v1_GetModelInfoRequest, callback: grpc.requestCallback<_kvant_v1_GetModelInfoResponse__Output>): grpc.ClientUnaryCall;
  
  Tokenize(argument: _kvant_v1_TokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _kvant_v1_TokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _kvant_v1_TokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _kvant_v1_TokenizeRequest, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _kvant_v1_TokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _kvant_v1_TokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _kvant_v1_TokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _kvant_v1_TokenizeRequest, callback: grpc.requestCallback<_kvant_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface GenerationServiceHandlers extends grpc.UntypedServiceImplementation {
  Generate: grpc.handleServerStreamingCall<_kvant_v1_GenerateRequest__Output, _kvant_v1_GenerateResponse>;
  
  GetModelInfo: grpc.handleUnaryCall<_kvant_v1_GetModelInfoRequest__Output, _kvant_v1_GetModelInfoResponse>;
  
  Tokenize: grpc.handleUnaryCall<_kvant_v1_TokenizeRequest__Output, _kvant_v1_TokenizeResponse>;
  
}

export interface GenerationServiceDefinition extends grpc.ServiceDefinition {
  Generate: MethodDefinition<_kvant_v1_GenerateRequest, _kvant_v1_GenerateResponse, _kvant_v1_GenerateRequest__Output, _kvant_v1_GenerateResponse__Output>
  GetModelInfo: MethodDefinition<_kvant_v1_GetModelInfoRequest, _kvant_v1_GetModelInfoResponse, _kvant_v1_GetModelInfoRequest__Output, _kvant_v1_GetModelInfoResponse__Output>
  Tokenize: MethodDefinition<_kvant_v1_TokenizeRequest, _kvant_v1_TokenizeResponse, _kvant_v1_TokenizeRequest__Output, _kvant_v1_TokenizeResponse__Output>
}
