/**
 * The files of proto/ as descriptors, for reflection.
 * Generated: UPDATE=1 npx vitest run test/rpc/grpc/descriptors.test.ts && npm run format
 */
export const DESCRIPTORS: readonly {
  name: string
  services: readonly string[]
  symbols: readonly string[]
  /** A FileDescriptorProto, base64. */
  descriptor: string
}[] = [
  {
    name: 'flockmq_link_v1.proto',
    services: ['flockmq.link.v1.Link'],
    symbols: [
      'flockmq.link.v1.Link',
      'flockmq.link.v1.Packet',
      'flockmq.link.v1.Kind',
      'flockmq.link.v1.Hello',
      'flockmq.link.v1.Challenge',
      'flockmq.link.v1.Sealed',
      'flockmq.link.v1.Terms',
      'flockmq.link.v1.Refusal',
    ],
    descriptor:
      'ChVmbG9ja21xX2xpbmtfdjEucHJvdG8SD2Zsb2NrbXEubGluay52MSLQAQoGUGFja2V0Eg4KBm51bWJlchgBIAEoBhILCgNhY2sYAiABKAYSDgoGY3JlZGl0GAMgASgGEg0KBWZsYWdzGAQgASgNEgwKBGJvZHkYBSABKAwSFAoFaGVsbG8YBiABKAsyBUhlbGxvEhwKCWNoYWxsZW5nZRgHIAEoCzIJQ2hhbGxlbmdlEhUKBXByb29mGAggASgLMgZTZWFsZWQSFwoHd2VsY29tZRgJIAEoCzIGU2VhbGVkEhgKB3JlZnVzYWwYCiABKAsyB1JlZnVzYWwifwoFSGVsbG8SDwoHdmVyc2lvbhgBIAEoDRIPCgdjbHVzdGVyGAIgASgJEgwKBG5vZGUYAyABKAkSEwoLaW5jYXJuYXRpb24YBCABKAQSDgoGdGFyZ2V0GAUgASgJEhIKBGtpbmQYBiABKA4yBEtpbmQSDQoFbm9uY2UYByABKAwiPQoJQ2hhbGxlbmdlEgwKBG5vZGUYASABKAkSEwoLaW5jYXJuYXRpb24YAiABKAQSDQoFbm9uY2UYAyABKAwiJgoGU2VhbGVkEg0KBXRlcm1zGAEgASgMEg0KBXByb29mGAIgASgMIksKBVRlcm1zEg8KB3Nlc3Npb24YASABKAQSDAoEc2VlbhgCIAEoBBIOCgZjcmVkaXQYAyABKAQSEwoLZXN0YWJsaXNoZWQYBCABKAgiGQoHUmVmdXNhbBIOCgZyZWFzb24YASABKAkqTwoES2luZBIUChBLSU5EX1VOU1BFQ0lGSUVEEAASDQoJS0lORF9SQUZUEAESEwoPS0lORF9ERUxJVkVSSUVTEAISDQoJS0lORF9CVUxLEAMyRwoETGluaxI/CgdDb25uZWN0EhcuZmxvY2ttcS5saW5rLnYxLlBhY2tldBoXLmZsb2NrbXEubGluay52MS5QYWNrZXQoATABYgZwcm90bzM=',
  },
  {
    name: 'grpc_health_v1.proto',
    services: ['grpc.health.v1.Health'],
    symbols: ['grpc.health.v1.HealthCheckRequest', 'grpc.health.v1.HealthCheckResponse', 'grpc.health.v1.Health'],
    descriptor:
      'ChRncnBjX2hlYWx0aF92MS5wcm90bxIOZ3JwYy5oZWFsdGgudjEiJQoSSGVhbHRoQ2hlY2tSZXF1ZXN0Eg8KB3NlcnZpY2UYASABKAkihQEKE0hlYWx0aENoZWNrUmVzcG9uc2USHQoGc3RhdHVzGAEgASgOMg1TZXJ2aW5nU3RhdHVzIk8KDVNlcnZpbmdTdGF0dXMSCwoHVU5LTk9XThAAEgsKB1NFUlZJTkcQARIPCgtOT1RfU0VSVklORxACEhMKD1NFUlZJQ0VfVU5LTk9XThADMq4BCgZIZWFsdGgSUAoFQ2hlY2sSIi5ncnBjLmhlYWx0aC52MS5IZWFsdGhDaGVja1JlcXVlc3QaIy5ncnBjLmhlYWx0aC52MS5IZWFsdGhDaGVja1Jlc3BvbnNlElIKBVdhdGNoEiIuZ3JwYy5oZWFsdGgudjEuSGVhbHRoQ2hlY2tSZXF1ZXN0GiMuZ3JwYy5oZWFsdGgudjEuSGVhbHRoQ2hlY2tSZXNwb25zZTABYgZwcm90bzM=',
  },
  {
    name: 'grpc_reflection_v1.proto',
    services: ['grpc.reflection.v1.ServerReflection'],
    symbols: [
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1.ServerReflectionRequest',
      'grpc.reflection.v1.ExtensionRequest',
      'grpc.reflection.v1.ServerReflectionResponse',
      'grpc.reflection.v1.FileDescriptorResponse',
      'grpc.reflection.v1.ExtensionNumberResponse',
      'grpc.reflection.v1.ListServiceResponse',
      'grpc.reflection.v1.ServiceResponse',
      'grpc.reflection.v1.ErrorResponse',
    ],
    descriptor:
      'ChhncnBjX3JlZmxlY3Rpb25fdjEucHJvdG8SEmdycGMucmVmbGVjdGlvbi52MSLlAQoXU2VydmVyUmVmbGVjdGlvblJlcXVlc3QSDAoEaG9zdBgBIAEoCRIYCg5maWxlQnlGaWxlbmFtZRgDIAEoCUgAEh4KFGZpbGVDb250YWluaW5nU3ltYm9sGAQgASgJSAASMwoXZmlsZUNvbnRhaW5pbmdFeHRlbnNpb24YBSABKAsyEEV4dGVuc2lvblJlcXVlc3RIABIjChlhbGxFeHRlbnNpb25OdW1iZXJzT2ZUeXBlGAYgASgJSAASFgoMbGlzdFNlcnZpY2VzGAcgASgJSABCEAoObWVzc2FnZVJlcXVlc3QiQwoQRXh0ZW5zaW9uUmVxdWVzdBIWCg5jb250YWluaW5nVHlwZRgBIAEoCRIXCg9leHRlbnNpb25OdW1iZXIYAiABKAUiyQIKGFNlcnZlclJlZmxlY3Rpb25SZXNwb25zZRIRCgl2YWxpZEhvc3QYASABKAkSMAoPb3JpZ2luYWxSZXF1ZXN0GAIgASgLMhdTZXJ2ZXJSZWZsZWN0aW9uUmVxdWVzdBI4ChZmaWxlRGVzY3JpcHRvclJlc3BvbnNlGAQgASgLMhZGaWxlRGVzY3JpcHRvclJlc3BvbnNlSAASPgobYWxsRXh0ZW5zaW9uTnVtYmVyc1Jlc3BvbnNlGAUgASgLMhdFeHRlbnNpb25OdW1iZXJSZXNwb25zZUgAEjMKFGxpc3RTZXJ2aWNlc1Jlc3BvbnNlGAYgASgLMhNMaXN0U2VydmljZVJlc3BvbnNlSAASJgoNZXJyb3JSZXNwb25zZRgHIAEoCzINRXJyb3JSZXNwb25zZUgAQhEKD21lc3NhZ2VSZXNwb25zZSI1ChZGaWxlRGVzY3JpcHRvclJlc3BvbnNlEhsKE2ZpbGVEZXNjcmlwdG9yUHJvdG8YASADKAwiSAoXRXh0ZW5zaW9uTnVtYmVyUmVzcG9uc2USFAoMYmFzZVR5cGVOYW1lGAEgASgJEhcKD2V4dGVuc2lvbk51bWJlchgCIAMoBSI3ChNMaXN0U2VydmljZVJlc3BvbnNlEiAKB3NlcnZpY2UYASADKAsyD1NlcnZpY2VSZXNwb25zZSIfCg9TZXJ2aWNlUmVzcG9uc2USDAoEbmFtZRgBIAEoCSI4Cg1FcnJvclJlc3BvbnNlEhEKCWVycm9yQ29kZRgBIAEoBRIUCgxlcnJvck1lc3NhZ2UYAiABKAkyiQEKEFNlcnZlclJlZmxlY3Rpb24SdQoUU2VydmVyUmVmbGVjdGlvbkluZm8SKy5ncnBjLnJlZmxlY3Rpb24udjEuU2VydmVyUmVmbGVjdGlvblJlcXVlc3QaLC5ncnBjLnJlZmxlY3Rpb24udjEuU2VydmVyUmVmbGVjdGlvblJlc3BvbnNlKAEwAWIGcHJvdG8z',
  },
]
