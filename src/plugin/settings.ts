/** Values of one tenant; plain, stable shape, replaced as a whole when one changes. */
export interface TenantSettings {
  mqtt31Enabled: boolean
  mqtt311Enabled: boolean
  mqtt5Enabled: boolean
  maximumQos: 0 | 1 | 2
  retainEnabled: boolean
  wildcardSubscriptionEnabled: boolean
  subscriptionIdentifierEnabled: boolean
  sharedSubscriptionEnabled: boolean
  topicLevelsMax: number
  topicLevelBytesMax: number
  topicBytesMax: number
  topicAliasMax: number
  packetBytesMax: number
  receiveMaximum: number
  filtersPerSubscribeMax: number
  filtersPerSessionMax: number
  sessionExpirySecondsMax: number
  keepAliveSecondsMin: number
  keepAliveSecondsMax: number
  /** Server keep-alive announced to MQTT 5 clients; 0 = the client's own. */
  serverKeepAliveSeconds: number
  willBytesMax: number
  payloadFormatValidation: boolean
  forceTransient: boolean
  queueMessagesMax: number
  queueBytesMax: number
  queueDropPolicy: 'oldest' | 'newest'
  queueQos0: boolean
  connectionsMax: number
  retainTopicsMax: number
  retainBytesMax: number
  durability: 'quorum-sync' | 'quorum-mem' | 'none'
}
