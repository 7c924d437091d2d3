/** A mistake that somebody might make: one line of `src`, and the test of this suite that must notice. */
export interface Mutation {
  /** From `src` on. */
  file: string
  /** The whole line without its indentation: it stands once in the file. */
  before: string
  after: string
  /** Title of the test, without its tags. */
  caughtBy: string
}

const CODEC: readonly Mutation[] = [
  {
    file: 'mqtt/codec/utf8.ts',
    before: 'if (byte === 0) return UTF8_INVALID',
    after: 'if (byte === -1) return UTF8_INVALID',
    caughtBy: 'U+0000 in any string ends the connection',
  },
  {
    file: 'mqtt/codec/utf8.ts',
    before: 'if (second > (lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf)) return false',
    after: 'if (second > (lead === 0xf4 ? 0x8f : 0xbf)) return false',
    caughtBy: 'ill-formed UTF-8 in any string ends the connection',
  },
  {
    file: 'mqtt/codec/varint.ts',
    before: 'if (byte < 0x80) return byte === 0 && i > start ? -1 : value',
    after: 'if (byte < 0x80) return value',
    caughtBy: 'a variable byte integer that is longer than needed is malformed',
  },
  {
    file: 'mqtt/codec/publish.ts',
    before: 'if (qos === 3) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-4]',
    after: 'if (qos > 3) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-4]',
    caughtBy: 'QoS 3 ends the connection',
  },
  {
    file: 'mqtt/codec/publish.ts',
    before: 'if (dup && qos === 0) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-2]',
    after: 'if (dup && qos > 2) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-2]',
    caughtBy: 'DUP with QoS 0 ends the connection',
  },
  {
    file: 'mqtt/codec/publish.ts',
    before: 'if (packetId === 0) return REASON.PROTOCOL_ERROR // [MQTT-2.2.1-3]',
    after: 'if (packetId < 0) return REASON.PROTOCOL_ERROR // [MQTT-2.2.1-3]',
    caughtBy: 'packet identifier 0 ends the connection',
  },
  {
    file: 'mqtt/codec/publish.ts',
    before: 'if (byte === HASH || byte === PLUS || byte === 0) return REASON.MALFORMED_PACKET // [MQTT-3.3.2-2]',
    after: 'if (byte === HASH || byte === 0) return REASON.MALFORMED_PACKET // [MQTT-3.3.2-2]',
    caughtBy: 'a wildcard in a topic name is malformed',
  },
  {
    file: 'mqtt/codec/ack.ts',
    before: 'return flags === 2 || (version === 3 && flags === 10)',
    after: 'return flags === 2 || flags === 10',
    caughtBy: 'PUBREL with other flags than 0010 ends the connection',
  },
  {
    file: 'mqtt/codec/decode-connect.ts',
    before: "if (reader.left > 0) reader.malformed('bytes follow the last field')",
    after: "if (reader.left > 3) reader.malformed('bytes follow the last field')",
    caughtBy: 'a CONNECT that is not well formed closes the connection',
  },
  {
    file: 'mqtt/codec/decode-connect.ts',
    before: "if (willQos === WILL_QOS) reader.malformed('will QoS is 3') // [MQTT-3.1.2-12]",
    after: "if (willQos > WILL_QOS) reader.malformed('will QoS is 3') // [MQTT-3.1.2-12]",
    caughtBy: 'a will QoS of 3 is malformed',
  },
  {
    file: 'mqtt/codec/decode-subscribe.ts',
    before:
      "if (noLocal && isShared(filter)) reader.fail(REASON.PROTOCOL_ERROR, 'no local on a shared subscription') // [MQTT-3.8.3-4]",
    after:
      "if (noLocal && filter === '') reader.fail(REASON.PROTOCOL_ERROR, 'no local on a shared subscription') // [MQTT-3.8.3-4]",
    caughtBy: 'no local on a shared subscription ends the connection with 0x82',
  },
  {
    file: 'mqtt/codec/decode-subscribe.ts',
    before: "if (reader.left === 0) reader.fail(REASON.PROTOCOL_ERROR, 'there is no topic filter')",
    after: "if (reader.left < 0) reader.fail(REASON.PROTOCOL_ERROR, 'there is no topic filter')",
    caughtBy: 'a SUBSCRIBE without a filter ends the connection',
  },
  {
    file: 'mqtt/codec/encode.ts',
    before: 'if (full.length <= packetBytesMax) return full',
    after: 'if (full.length <= packetBytesMax + 20) return full',
    caughtBy: 'a CONNACK leaves its reason string out rather than be too large',
  },
  {
    file: 'mqtt/codec/frame.ts',
    before: 'if (end - start > this.#packetBytesMax) return this.#fail(FRAME_TOO_LARGE, chunk[start]!)',
    after: 'if (end - start > this.#packetBytesMax + 1) return this.#fail(FRAME_TOO_LARGE, chunk[start]!)',
    caughtBy: 'a packet over the announced size ends the connection with 0x95',
  },
  {
    file: 'base/topic.ts',
    before: 'if (i < last && (code === HASH || filter.charCodeAt(i + 1) !== SLASH)) return false',
    after: 'if (i < last && filter.charCodeAt(i + 1) !== SLASH) return false',
    caughtBy: '# is the last level, and fills it',
  },
]

const SESSION: readonly Mutation[] = [
  {
    file: 'mqtt/session/session.ts',
    before: "if (this.state !== 'new') return this.#end(REASON.PROTOCOL_ERROR, 'A second CONNECT') // [MQTT-3.1.0-2]",
    after: "if (this.state === 'open') return",
    caughtBy: 'a second CONNECT ends the connection',
  },
  {
    file: 'mqtt/session/session.ts',
    before: 'this.#discardWill = packet.reasonCode === REASON.SUCCESS // [MQTT-3.14.4-3]',
    after: 'this.#discardWill = true',
    caughtBy: 'DISCONNECT with 0x04 or an error keeps the will',
  },
  {
    file: 'mqtt/session/session.ts',
    before: 'if (this.agreement!.expirySeconds === 0 && expiry !== 0) {',
    after: 'if (this.agreement!.expirySeconds < 0 && expiry !== 0) {',
    caughtBy: 'a session without expiry cannot be given one by DISCONNECT: 0x82',
  },
  {
    file: 'mqtt/session/session.ts',
    before:
      'if (request.retainHandling === 2 || (request.retainHandling === 1 && !fresh)) continue // [MQTT-3.3.1-10], [-11]',
    after: 'if (request.retainHandling === 2) continue // [MQTT-3.3.1-10], [-11]',
    caughtBy: 'retain handling 1 sends them to a subscription that is new',
  },
  {
    file: 'mqtt/session/session.ts',
    before:
      'const reasonCodes = five ? existed.map((known) => (known ? REASON.SUCCESS : REASON.NO_SUBSCRIPTION_EXISTED)) : []',
    after: 'const reasonCodes = five ? existed.map(() => REASON.SUCCESS) : []',
    caughtBy: 'UNSUBSCRIBE is answered with its identifier, also where nothing is deleted',
  },
  {
    file: 'mqtt/session/session.ts',
    before: 'if (method === undefined || packet.properties.authenticationMethod !== method) {',
    after: 'if (method === undefined) {',
    caughtBy: 'AUTH with another method than CONNECT ends the exchange',
  },
  {
    file: 'mqtt/session/negotiate.ts',
    before: 'return keepAliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepAliveSeconds * 1500',
    after: 'return keepAliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepAliveSeconds * 1000',
    caughtBy: 'silence of one and a half keep-alives ends the connection',
  },
  {
    file: 'mqtt/session/negotiate.ts',
    before:
      "if (connect.clientId === '' && (connect.version === 3 || (connect.version === 4 && !connect.cleanStart))) {",
    after: "if (connect.clientId === '' && connect.version === 3) {",
    caughtBy: 'an empty client id with clean session 0 is refused with 0x02',
  },
  {
    file: 'mqtt/session/negotiate.ts',
    before: 'if (agreement.assigned) properties.assignedClientIdentifier = agreement.clientId',
    after: 'if (!agreement.cleanStart) properties.assignedClientIdentifier = agreement.clientId',
    caughtBy: 'an empty client id becomes a unique one, which 5.0 is told',
  },
  {
    file: 'mqtt/session/negotiate.ts',
    before: 'if (will.retain && !settings.retainEnabled) {',
    after: 'if (will.retain && will.qos > 2) {',
    caughtBy: 'where retain is not available, a will with retain is refused with 0x9A',
  },
  {
    file: 'mqtt/session/negotiate.ts',
    before: 'return connect.cleanStart ? 0 : max',
    after: 'return max',
    caughtBy: 'a clean session of 3.1.1 leaves nothing behind',
  },
  {
    file: 'mqtt/session/topic-alias.ts',
    before: 'if (alias > this.#max) return false',
    after: 'if (alias > this.#max + 1) return false',
    caughtBy: 'a topic alias over the announced maximum ends the connection with 0x94',
  },
]

const OUTBOUND: readonly Mutation[] = [
  {
    file: 'mqtt/session/outbound.ts',
    before: 'if (qos > 0 && (this.room <= 0 || this.#isFull(publication.payloadBytes))) {',
    after: 'if (qos > 0 && this.#isFull(publication.payloadBytes)) {',
    caughtBy: 'the broker keeps to the receive maximum of the client',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: 'this.#ids.set(id, AWAITS_PUBCOMP)',
    after: 'this.#ids.set(id, AWAITS_PUBREC)',
    caughtBy: 'a QoS 2 message counts until PUBCOMP, or a PUBREC that refuses it',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: "if (size > options.clientPacketBytesMax) return options.dropped(1, 'too-large') // [MQTT-3.1.2-25]",
    after: "if (size > options.clientPacketBytesMax + 100) return options.dropped(1, 'too-large') // [MQTT-3.1.2-25]",
    caughtBy: 'a message that is too large for a client is left out, whole',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: 'const retain = publication.retain && target.retainAsPublished',
    after: 'const retain = publication.retain',
    caughtBy: 'a live message has RETAIN 0, however it was published',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: 'const qos = publication.qos < target.qos ? publication.qos : target.qos',
    after: 'const qos = publication.qos',
    caughtBy: 'a message comes with the lower of its QoS and the granted one',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: 'out.dup = dup',
    after: 'out.dup = false',
    caughtBy: 'what was not acknowledged is sent again after a reconnect, with its identifier and DUP',
  },
  {
    file: 'mqtt/session/outbound.ts',
    before: 'entry.state = AWAITS_PUBCOMP',
    after: 'entry.state = AWAITS_PUBREC',
    caughtBy: 'a QoS 2 message counts until PUBCOMP, or a PUBREC that refuses it',
  },
  {
    file: 'mqtt/session/topic-alias.ts',
    before: 'if (this.#aliases.size >= this.#max) return 0',
    after: 'if (this.#aliases.size > this.#max) return 0',
    caughtBy: 'aliases towards the client stay within its maximum',
  },
]

const INBOUND: readonly Mutation[] = [
  {
    file: 'mqtt/connection/intake.ts',
    before: 'if (underWay < this.#receiveMaximum || this.#recorded.has(packetId)) return false',
    after: 'if (underWay <= this.#receiveMaximum || this.#recorded.has(packetId)) return false',
    caughtBy: 'more publishes than the receive maximum end the connection with 0x93',
  },
  {
    file: 'mqtt/connection/intake.ts',
    before: 'this.received.add(packetId)',
    after: 'this.received.delete(packetId)',
    caughtBy: 'a PUBLISH of QoS 2 that comes again before PUBREL is answered again and delivered once',
  },
  {
    file: 'mqtt/connection/intake.ts',
    before: 'if (view.qos > settings.maximumQos) {',
    after: 'if (view.qos > settings.maximumQos + 1) {',
    caughtBy: 'a PUBLISH over the announced QoS ends the connection with 0x9B',
  },
  {
    file: 'mqtt/connection/connection.ts',
    before: 'const known = this.#intake!.released(packetId)',
    after: 'const known = this.#intake!.released(packetId) || true',
    caughtBy: 'acks of unknown identifiers: PUBREL is answered by PUBCOMP and PUBREC by PUBREL, with 0x92',
  },
  {
    file: 'mqtt/session/ack-order.ts',
    before: 'if (this.#first === this.#end) return this.#write(type, packetId, reasonCode)',
    after: 'return this.#write(type, packetId, reasonCode)',
    caughtBy: 'messages of a publisher arrive, and are acknowledged, in their order',
  },
  {
    file: 'inbox/store/qos2.ts',
    before:
      "if (known !== undefined) return { type: 'number', number: known.number, repeated: true, floor: floorOf(numbers) }",
    after:
      "if (known !== undefined) return { type: 'number', number: known.number, repeated: false, floor: floorOf(numbers) }",
    caughtBy: 'the same holds across a reconnect of the publisher; its PUBREL is known',
  },
]

const RETAINED: readonly Mutation[] = [
  {
    file: 'mqtt/connection/retained-stream.ts',
    before: 'const qos = message.qos < job.options.qos ? message.qos : job.options.qos',
    after: 'const qos = message.qos',
    caughtBy: 'a retained message comes with the lower of its QoS and the granted one',
  },
  {
    file: 'mqtt/connection/retained-stream.ts',
    before: 'return outbound.sendMessage(message, qos, true, ids) // [MQTT-3.3.1-8]: RETAIN is set',
    after: 'return outbound.sendMessage(message, qos, false, ids)',
    caughtBy: 'the last retained message of each topic goes to new subscriptions, with RETAIN',
  },
  {
    file: 'retain/store/matcher.ts',
    before:
      'if (key[at] === DOLLAR && levels[0] === (levels.length === 0 ? undefined : PLUS)) return this.#skipDollar()',
    after: 'if (key[at] === DOLLAR && levels.length === 0) return this.#skipDollar()',
    caughtBy: 'retained messages of $ topics are not matched by a leading wildcard',
  },
  {
    file: 'retain/client.ts',
    before: 'if (message.payload.length === 0) {',
    after: 'if (message.payload.length < 0) {',
    caughtBy: 'an empty retained message is passed on, clears its topic, and is not kept',
  },
  {
    file: 'mqtt/routing/router.ts',
    before: 'if (publication.retain) this.#retain(tenant, publication, waiter)',
    after: 'if (publication.retain && publication.qos > 0) this.#retain(tenant, publication, waiter)',
    caughtBy: 'a retained message of QoS 0 replaces the one before',
  },
]

const ROUTING: readonly Mutation[] = [
  {
    file: 'mqtt/routing/fanout.ts',
    before: 'target.qos = Math.max(target.qos, options.qos)',
    after: 'target.qos = options.qos',
    caughtBy: 'overlapping subscriptions give one copy with the highest QoS',
  },
  {
    file: 'mqtt/routing/fanout.ts',
    before:
      'if (options.subscriptionId !== 0) target.subscriptionIds = [...target.subscriptionIds, options.subscriptionId]',
    after: 'if (options.subscriptionId !== 0) target.subscriptionIds = [options.subscriptionId]',
    caughtBy: 'the one copy carries the identifiers of all its subscriptions',
  },
  {
    file: 'mqtt/routing/deliver.ts',
    before: 'if (target.noLocal && target.subscriber.clientId === publication.publisher) {',
    after: "if (target.noLocal && target.subscriber.clientId === '') {",
    caughtBy: 'no local: an own message comes only by subscriptions without it',
  },
  {
    file: 'mqtt/routing/router.ts',
    before: 'retain: publication.retain && retainAsPublished,',
    after: 'retain: retainAsPublished,',
    caughtBy: 'retain as published holds for what waited in the queue',
  },
  {
    file: 'dist/match/trie.ts',
    before: 'const reserved = topic.charCodeAt(0) === DOLLAR',
    after: 'const reserved = topic.charCodeAt(1) === DOLLAR',
    caughtBy: 'a leading wildcard does not match topics that begin with $',
  },
  {
    file: 'mqtt/routing/group-choice.ts',
    before: 'group.next = (chosen + 1) % members.length',
    after: 'group.next = chosen % members.length',
    caughtBy: 'each message goes to one member of a group, and to every plain subscriber',
  },
  {
    file: 'inbox/store/group-assign.ts',
    before: 'entry.qos = entry.qos < options.qos ? entry.qos : options.qos',
    after: 'entry.qos = options.qos',
    caughtBy: 'a member gets no more than the QoS that it was granted',
  },
]

const WILLS_AND_EXPIRY: readonly Mutation[] = [
  {
    file: 'inbox/store/will.ts',
    before: "return cleanStart || delaySeconds === 0 || expirySeconds === 0 ? 'fire' : 'discard'",
    after: "return delaySeconds === 0 || expirySeconds === 0 ? 'fire' : 'discard'",
    caughtBy: 'at takeover the will is sent unless the session goes on and the will has a delay',
  },
  {
    file: 'inbox/store/will.ts',
    before: "return delaySeconds === 0 || expirySeconds === 0 ? 'fire' : 'arm'",
    after: "return 'fire'",
    caughtBy: 'the will waits for its delay',
  },
  {
    file: 'inbox/store/session.ts',
    before: "const moment = how.discardWill ? 'disconnected' : 'lost'",
    after: "const moment = 'lost'",
    caughtBy: 'DISCONNECT with 0x00 discards the will',
  },
  {
    file: 'mqtt/connection/attach.ts',
    before: 'retain: will.retain,',
    after: 'retain: false,',
    caughtBy: 'a will with retain is retained',
  },
  {
    file: 'inbox/store/session.ts',
    before: 'return command.cleanStart || session.expirySeconds === 0 || sessionEndMs(session) <= nowMs',
    after: 'return session.expirySeconds === 0 || sessionEndMs(session) <= nowMs',
    caughtBy: 'clean start ends the session of before: its subscriptions, its queue, its messages in flight',
  },
  {
    file: 'inbox/store/session.ts',
    before: 'if (how.expirySeconds !== null) session.expirySeconds = how.expirySeconds',
    after: 'if (how.expirySeconds === 0) session.expirySeconds = how.expirySeconds',
    caughtBy: 'DISCONNECT may change the expiry of a session that has one',
  },
  {
    file: 'base/message.ts',
    before: 'const left = message.expirySeconds - Math.max(0, waited)',
    after: 'const left = message.expirySeconds - Math.min(0, waited)',
    caughtBy: 'a message that waited too long is not delivered; others say how long they may still wait',
  },
]

const TAKEOVER_AND_LIMITS: readonly Mutation[] = [
  {
    file: 'mqtt/connection/registry.ts',
    before: 'return before === undefined || before === who ? null : before.takeOver()',
    after: 'return before === undefined || before !== who ? null : before.takeOver()',
    caughtBy: 'a second connection of a client id ends the first, with 0x8E',
  },
  {
    file: 'mqtt/connection/control.ts',
    before: "return this.leave(REASON.SESSION_TAKEN_OVER, 'Another connection took the session over')",
    after: "return this.leave(REASON.ADMINISTRATIVE_ACTION, 'Another connection took the session over')",
    caughtBy: 'a second connection of a client id ends the first, with 0x8E',
  },
  {
    file: 'mqtt/connection/transient-subscriptions.ts',
    before: 'return fresh && this.#filters.size >= max ? REASON.QUOTA_EXCEEDED : 0',
    after: 'return fresh && this.#filters.size > max ? REASON.QUOTA_EXCEEDED : 0',
    caughtBy: 'what a tenant does not offer fails with its own code',
  },
  {
    file: 'inbox/store/queue.ts',
    before: 'if (dropNewest || oldest > tally.tail) fits = false',
    after: 'if (oldest > tally.tail) fits = false',
    caughtBy: 'a full queue gives up the oldest message, or the newest, as its tenant wants it',
  },
  {
    file: 'mqtt/listener/ws-transport.ts',
    before: 'if (isBinary) return this.onData(data)',
    after: 'if (isBinary || data.length > 0) return this.onData(data)',
    caughtBy: 'a text frame closes the connection',
  },
]

export const MUTATIONS: readonly Mutation[] = [
  ...CODEC,
  ...SESSION,
  ...OUTBOUND,
  ...INBOUND,
  ...RETAINED,
  ...ROUTING,
  ...WILLS_AND_EXPIRY,
  ...TAKEOVER_AND_LIMITS,
]
