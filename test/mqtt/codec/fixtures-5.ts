import type { Connect, Publish, Subscription } from '../../../src/mqtt/codec/index.ts'
import { bytes, type InvalidFixture, type ValidFixture } from './bytes.ts'

const CONNECT: Connect = {
  type: 'connect',
  version: 5,
  clientId: '',
  cleanStart: true,
  keepAliveSeconds: 60,
  username: null,
  password: null,
  will: null,
  properties: {},
}
const PUBLISH: Publish = {
  type: 'publish',
  topic: 'a',
  payload: Buffer.from('p'),
  qos: 0,
  retain: false,
  dup: false,
  packetId: 0,
  properties: {},
}
const subscription: Subscription = {
  filter: 'a',
  qos: 0,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
}
const problem = { reasonString: 'no', userProperties: [['k', 'v']] as [string, string][] }
const PROBLEM = '1f 00 02 "no" 26 00 01 "k" 00 01 "v"' // 12 bytes

/** MQTT 5.0, well formed. Properties stand in the order of the encoder unless one way. */
export const VALID_5: ValidFixture[] = [
  {
    name: 'CONNECT 5.0, least',
    version: 5,
    wire: '10 0d 00 04 "MQTT" 05 02 00 3c 00 00 00',
    packet: CONNECT,
  },
  {
    name: 'CONNECT 5.0, every property',
    version: 5,
    wire: `
      10 3a 00 04 "MQTT" 05 00 00 3c
      2a                      # property length
      11 00 00 0e 10          # session expiry interval 3600
      15 00 01 "m"            # authentication method
      16 00 02 00 ff          # authentication data
      17 00                   # request problem information
      19 01                   # request response information
      21 00 0a                # receive maximum
      22 ff ff                # topic alias maximum
      27 ff ff ff ff          # maximum packet size
      26 00 01 "k" 00 01 "v"  # user property
      26 00 01 "k" 00 00      # the same name again, empty value
      00 03 "cid"`,
    packet: {
      ...CONNECT,
      clientId: 'cid',
      cleanStart: false,
      properties: {
        sessionExpiryInterval: 3600,
        authenticationMethod: 'm',
        authenticationData: Buffer.from([0, 255]),
        requestProblemInformation: false,
        requestResponseInformation: true,
        receiveMaximum: 10,
        topicAliasMaximum: 65_535,
        maximumPacketSize: 0xffffffff,
        userProperties: [
          ['k', 'v'],
          ['k', ''],
        ],
      },
    },
  },
  {
    name: 'CONNECT 5.0, will with every property, in another order; password without user name',
    version: 5,
    wire: `
      10 40 00 04 "MQTT" 05 76 00 3c 00
      00 01 "c"
      26                      # will property length
      26 00 01 "k" 00 01 "v"
      18 00 00 00 05          # will delay interval
      01 01                   # payload format indicator
      02 00 00 00 3c          # message expiry interval
      03 00 02 "ct"           # content type
      08 00 02 "r/"           # response topic
      09 00 01 ff             # correlation data
      26 00 00 00 00
      00 01 "w"
      00 02 "by"
      00 02 "pw"`,
    packet: {
      ...CONNECT,
      clientId: 'c',
      password: Buffer.from('pw'),
      will: {
        topic: 'w',
        payload: Buffer.from('by'),
        qos: 2,
        retain: true,
        properties: {
          willDelayInterval: 5,
          payloadFormatIndicator: 1,
          messageExpiryInterval: 60,
          contentType: 'ct',
          responseTopic: 'r/',
          correlationData: Buffer.from([255]),
          userProperties: [
            ['k', 'v'],
            ['', ''],
          ],
        },
        rawProperties: new Uint8Array(
          bytes('26 00 01 "k" 00 01 "v" 01 01 03 00 02 "ct" 08 00 02 "r/" 09 00 01 ff 26 00 00 00 00'),
        ),
      },
    },
    oneWay: true,
  },
  {
    name: 'CONNACK 5.0, least',
    version: 5,
    from: 'from-server',
    wire: '20 03 00 00 00',
    packet: { type: 'connack', sessionPresent: false, reasonCode: 0, properties: {} },
  },
  {
    name: 'CONNACK 5.0, every property',
    version: 5,
    from: 'from-server',
    wire: `
      20 47 01 00
      44
      11 00 00 00 01          # session expiry interval
      12 00 01 "a"            # assigned client identifier
      13 00 1e                # server keep alive
      15 00 01 "m"            # authentication method
      16 00 01 ff             # authentication data
      1a 00 01 "i"            # response information
      1c 00 01 "s"            # server reference
      1f 00 02 "no"           # reason string
      21 00 01                # receive maximum
      22 00 00                # topic alias maximum
      24 01                   # maximum QoS
      25 00                   # retain available
      27 00 00 00 01          # maximum packet size
      28 00                   # wildcard subscription available
      29 01                   # subscription identifiers available
      2a 01                   # shared subscription available
      26 00 01 "k" 00 01 "v"
      26 00 01 "l" 00 01 "w"`,
    packet: {
      type: 'connack',
      sessionPresent: true,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 1,
        assignedClientIdentifier: 'a',
        serverKeepAlive: 30,
        authenticationMethod: 'm',
        authenticationData: Buffer.from([255]),
        responseInformation: 'i',
        serverReference: 's',
        reasonString: 'no',
        receiveMaximum: 1,
        topicAliasMaximum: 0,
        maximumQoS: 1,
        retainAvailable: false,
        maximumPacketSize: 1,
        wildcardSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: true,
        sharedSubscriptionAvailable: true,
        userProperties: [
          ['k', 'v'],
          ['l', 'w'],
        ],
      },
    },
  },
  { name: 'PUBLISH 5.0, least', version: 5, wire: '30 05 00 01 "a" 00 "p"', packet: PUBLISH },
  {
    name: 'PUBLISH 5.0, all that a client may send',
    version: 5,
    wire: `
      3b 28 00 01 "a" 00 07
      21
      01 01
      02 ff ff ff fe
      03 00 02 "ct"
      08 00 03 "r/t"
      09 00 02 00 01
      23 ff ff
      26 00 01 "k" 00 01 "v"
      "p"`,
    packet: {
      ...PUBLISH,
      qos: 1,
      dup: true,
      retain: true,
      packetId: 7,
      properties: {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 0xfffffffe,
        contentType: 'ct',
        responseTopic: 'r/t',
        correlationData: Buffer.from([0, 1]),
        topicAlias: 65_535,
        userProperties: [['k', 'v']],
      },
    },
  },
  {
    name: 'PUBLISH 5.0, topic by alias',
    version: 5,
    wire: '30 07 00 00 03 23 00 01 "p"',
    packet: { ...PUBLISH, topic: '', properties: { topicAlias: 1 } },
  },
  {
    name: 'PUBLISH 5.0 from the server, several subscription identifiers',
    version: 5,
    from: 'from-server',
    wire: '30 0e 00 01 "a" 09 0b 01 0b 80 01 0b ff ff 7f "p"',
    packet: { ...PUBLISH, properties: { subscriptionIdentifiers: [1, 128, 2_097_151] } },
  },
  ...(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).flatMap((type, index): ValidFixture[] => {
    const first = ['40', '50', '62', '70'][index]!
    const code = index < 2 ? 0x87 : 0x92
    const hex = code.toString(16)
    const properties = {}
    return [
      {
        name: `${type} 5.0, success in two bytes`,
        version: 5,
        wire: `${first} 02 00 01`,
        packet: { type, packetId: 1, reasonCode: 0, properties },
      },
      {
        name: `${type} 5.0, reason code without property length`,
        version: 5,
        wire: `${first} 03 00 01 ${hex}`,
        packet: { type, packetId: 1, reasonCode: code, properties },
      },
      {
        name: `${type} 5.0, empty properties`,
        version: 5,
        wire: `${first} 04 00 01 ${hex} 00`,
        packet: { type, packetId: 1, reasonCode: code, properties },
        oneWay: true,
      },
      {
        name: `${type} 5.0, reason string and user property`,
        version: 5,
        wire: `${first} 10 00 01 ${hex} 0c ${PROBLEM}`,
        packet: { type, packetId: 1, reasonCode: code, properties: problem },
      },
    ]
  }),
  {
    name: 'SUBSCRIBE 5.0, every option',
    version: 5,
    wire: `
      82 1b 00 01
      0c 0b ff ff ff 7f 26 00 01 "k" 00 01 "v"
      00 01 "a" 00
      00 01 "#" 2e            # retain handling 2, retain as published, no local, QoS 2
      00 01 "+" 19            # retain handling 1, retain as published, QoS 1`,
    packet: {
      type: 'subscribe',
      packetId: 1,
      subscriptions: [
        subscription,
        { filter: '#', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { filter: '+', qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 1 },
      ],
      properties: { subscriptionIdentifier: 268_435_455, userProperties: [['k', 'v']] },
    },
  },
  {
    name: 'SUBSCRIBE 5.0, shared and ordered shared',
    version: 5,
    wire: '82 1e 00 01 00 00 0a "$share/g/#" 01 00 0b "$oshare/g/a" 20',
    packet: {
      type: 'subscribe',
      packetId: 1,
      subscriptions: [
        { ...subscription, filter: '$share/g/#', qos: 1 },
        { ...subscription, filter: '$oshare/g/a', retainHandling: 2 },
      ],
      properties: {},
    },
  },
  {
    name: 'SUBACK 5.0',
    version: 5,
    from: 'from-server',
    wire: `90 12 00 01 0c ${PROBLEM} 00 02 a2`,
    packet: { type: 'suback', packetId: 1, reasonCodes: [0, 2, 0xa2], properties: problem },
  },
  {
    name: 'UNSUBSCRIBE 5.0',
    version: 5,
    wire: 'a2 0d 00 01 07 26 00 01 "k" 00 01 "v" 00 01 "a"',
    packet: { type: 'unsubscribe', packetId: 1, filters: ['a'], properties: { userProperties: [['k', 'v']] } },
  },
  {
    name: 'UNSUBACK 5.0',
    version: 5,
    from: 'from-server',
    wire: `b0 11 00 01 0c ${PROBLEM} 00 11`,
    packet: { type: 'unsuback', packetId: 1, reasonCodes: [0, 0x11], properties: problem },
  },
  { name: 'PINGREQ 5.0', version: 5, wire: 'c0 00', packet: { type: 'pingreq' } },
  { name: 'PINGRESP 5.0', version: 5, from: 'from-server', wire: 'd0 00', packet: { type: 'pingresp' } },
  {
    name: 'DISCONNECT 5.0, empty',
    version: 5,
    wire: 'e0 00',
    packet: { type: 'disconnect', reasonCode: 0, properties: {} },
  },
  {
    name: 'DISCONNECT 5.0, reason code without property length',
    version: 5,
    wire: 'e0 01 04',
    packet: { type: 'disconnect', reasonCode: 4, properties: {} },
  },
  {
    name: 'DISCONNECT 5.0 from the client',
    version: 5,
    wire: `e0 13 00 11 11 00 00 00 00 ${PROBLEM}`,
    packet: { type: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0, ...problem } },
  },
  {
    name: 'DISCONNECT 5.0 from the server',
    version: 5,
    from: 'from-server',
    wire: `e0 12 9c 10 1c 00 01 "s" ${PROBLEM}`,
    packet: { type: 'disconnect', reasonCode: 0x9c, properties: { serverReference: 's', ...problem } },
  },
  {
    name: 'AUTH, continue',
    version: 5,
    wire: 'f0 0b 18 09 15 00 01 "m" 16 00 02 01 02',
    packet: {
      type: 'auth',
      reasonCode: 0x18,
      properties: { authenticationMethod: 'm', authenticationData: Buffer.from([1, 2]) },
    },
  },
  {
    name: 'AUTH, re-authenticate',
    version: 5,
    wire: `f0 12 19 10 15 00 01 "m" ${PROBLEM}`,
    packet: { type: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'm', ...problem } },
  },
  {
    name: 'AUTH from the server, empty: success',
    version: 5,
    from: 'from-server',
    wire: 'f0 00',
    packet: { type: 'auth', reasonCode: 0, properties: {} },
  },
]

const MALFORMED = 0x81
const PROTOCOL = 0x82
const ALIAS = 0x94

/** A CONNECT with these properties, which are `length` bytes. */
const connect = (length: number, properties: string, flags = '02') =>
  `10 ${hex(13 + length)} 00 04 "MQTT" 05 ${flags} 00 3c ${hex(length)} ${properties} 00 00`
/** A CONNECT with a will that has these properties. */
const will = (length: number, properties: string) =>
  `10 ${hex(19 + length)} 00 04 "MQTT" 05 06 00 3c 00 00 00 ${hex(length)} ${properties} 00 01 "w" 00 00`
const publish = (length: number, properties: string) => `30 ${hex(4 + length)} 00 01 "a" ${hex(length)} ${properties}`
const connack = (length: number, properties: string) => `20 ${hex(3 + length)} 00 00 ${hex(length)} ${properties}`
const hex = (value: number) => value.toString(16).padStart(2, '0')

/** MQTT 5.0, to be refused. A CONNECT is answered with a CONNACK of version 5. */
export const INVALID_5: InvalidFixture[] = [
  // CONNECT
  no('remaining length not minimal', '10 8d 00 00 04 "MQTT" 05 02 00 3c 00 00 00', MALFORMED),
  no('fixed header flags', '12 0d 00 04 "MQTT" 05 02 00 3c 00 00 00', MALFORMED),
  no('reserved connect flag', connect(0, '', '03'), MALFORMED),
  no('will QoS without will', connect(0, '', '0a'), MALFORMED),
  no('will retain without will', connect(0, '', '22'), MALFORMED),
  no('will QoS 3', '10 13 00 04 "MQTT" 05 1e 00 3c 00 00 00 00 00 01 "w" 00 00', MALFORMED),
  no('no property length', '10 0a 00 04 "MQTT" 05 02 00 3c', MALFORMED),
  no('property length beyond the packet', '10 0d 00 04 "MQTT" 05 02 00 3c 03 00 00', MALFORMED),
  no('property length not minimal', '10 0e 00 04 "MQTT" 05 02 00 3c 80 00 00 00', MALFORMED),
  no('property length of five bytes', '10 11 00 04 "MQTT" 05 02 00 3c ff ff ff ff 01 00 00', MALFORMED),
  no('property cut by the property length', connect(3, '11 00 00'), MALFORMED),
  no('string of a property beyond the property length', connect(3, '15 00 02'), MALFORMED),
  no('trailing byte', '10 0e 00 04 "MQTT" 05 02 00 3c 00 00 00 00', MALFORMED),
  no('unknown property 0x00', connect(1, '00'), MALFORMED),
  no('unknown property 0x7f', connect(1, '7f'), MALFORMED),
  no('property identifier of two bytes', connect(3, '91 00 00'), MALFORMED),
  no('property of another packet: topic alias', connect(3, '23 00 01'), MALFORMED),
  no('property of the will: will delay', connect(5, '18 00 00 00 01'), MALFORMED),
  no('session expiry interval twice', connect(10, '11 00 00 00 01 11 00 00 00 01'), PROTOCOL),
  no('receive maximum 0', connect(3, '21 00 00'), PROTOCOL),
  no('receive maximum twice', connect(6, '21 00 01 21 00 01'), PROTOCOL),
  no('maximum packet size 0', connect(5, '27 00 00 00 00'), PROTOCOL),
  no('topic alias maximum twice', connect(6, '22 00 01 22 00 01'), PROTOCOL),
  no('request response information 2', connect(2, '19 02'), PROTOCOL),
  no('request problem information 2', connect(2, '17 02'), PROTOCOL),
  no('authentication method twice', connect(8, '15 00 01 "m" 15 00 01 "m"'), PROTOCOL),
  no('authentication data without method', connect(4, '16 00 01 00'), PROTOCOL),
  no('authentication method in bad UTF-8', connect(4, '15 00 01 ff'), MALFORMED),
  no('user property name with U+0000', connect(7, '26 00 01 00 00 01 "v"'), MALFORMED),
  no('user property value with a surrogate', connect(9, '26 00 01 "k" 00 03 ed a0 80'), MALFORMED),
  no('user property cut', connect(4, '26 00 01 "k"'), MALFORMED),
  // the will
  no('will without properties', '10 10 00 04 "MQTT" 05 06 00 3c 00 00 00 00 01 "w"', MALFORMED),
  no('will delay twice', will(10, '18 00 00 00 01 18 00 00 00 01'), PROTOCOL),
  no('will payload format 2', will(2, '01 02'), PROTOCOL),
  no('will response topic with a wildcard', will(4, '08 00 01 "+"'), MALFORMED),
  no('will response topic empty', will(3, '08 00 00'), MALFORMED),
  no('will with a topic alias', will(3, '23 00 01'), MALFORMED),
  no('will with a session expiry interval', will(5, '11 00 00 00 01'), MALFORMED),
  // PUBLISH
  bad('PUBLISH, remaining length not minimal', '30 85 00 00 01 "a" 00 "p"', MALFORMED),
  bad('PUBLISH, no property length', '30 03 00 01 "a"', MALFORMED),
  bad('PUBLISH, property length beyond the packet', '30 04 00 01 "a" 01', MALFORMED),
  bad('PUBLISH, property length not minimal', '30 05 00 01 "a" 80 00', MALFORMED),
  bad('PUBLISH, property length of five bytes', '30 08 00 01 "a" 80 80 80 80 01', MALFORMED),
  bad('PUBLISH, property length cut', '30 05 00 01 "a" 80 80', MALFORMED),
  bad('PUBLISH, empty topic without alias', '30 03 00 00 00', PROTOCOL),
  bad('PUBLISH, empty topic, other properties', '30 05 00 00 02 01 01', PROTOCOL),
  bad('PUBLISH, payload format 2', publish(2, '01 02'), PROTOCOL),
  bad('PUBLISH, payload format twice', publish(4, '01 01 01 01'), PROTOCOL),
  bad('PUBLISH, payload format cut', publish(1, '01'), MALFORMED),
  bad('PUBLISH, message expiry twice', publish(10, '02 00 00 00 01 02 00 00 00 01'), PROTOCOL),
  bad('PUBLISH, message expiry cut', publish(4, '02 00 00 00'), MALFORMED),
  bad('PUBLISH, topic alias 0 [MQTT-3.3.2-8]', publish(3, '23 00 00'), ALIAS),
  bad('PUBLISH, topic alias twice', publish(6, '23 00 01 23 00 02'), PROTOCOL),
  bad('PUBLISH, topic alias cut', publish(2, '23 00'), MALFORMED),
  bad('PUBLISH, response topic with a wildcard [MQTT-3.3.2-14]', publish(6, '08 00 03 "a/#"'), MALFORMED),
  bad('PUBLISH, response topic empty', publish(3, '08 00 00'), MALFORMED),
  bad('PUBLISH, response topic with a surrogate', publish(6, '08 00 03 ed a0 80'), MALFORMED),
  bad('PUBLISH, response topic twice', publish(8, '08 00 01 "a" 08 00 01 "a"'), PROTOCOL),
  bad('PUBLISH, correlation data twice', publish(8, '09 00 01 "a" 09 00 01 "a"'), PROTOCOL),
  bad('PUBLISH, correlation data cut', publish(4, '09 00 02 "a"'), MALFORMED),
  bad('PUBLISH, content type twice', publish(8, '03 00 01 "a" 03 00 01 "a"'), PROTOCOL),
  bad('PUBLISH, content type with U+0000', publish(4, '03 00 01 00'), MALFORMED),
  bad('PUBLISH, user property in bad UTF-8', publish(7, '26 00 01 ff 00 01 "v"'), MALFORMED),
  bad('PUBLISH, user property cut', publish(6, '26 00 01 "k" 00 01'), MALFORMED),
  bad('PUBLISH, subscription identifier from a client [MQTT-3.3.4-6]', publish(2, '0b 01'), PROTOCOL),
  bad('PUBLISH, property of another packet', publish(3, '21 00 01'), MALFORMED),
  bad('PUBLISH, property that nobody has', publish(2, '00 00'), MALFORMED),
  bad('PUBLISH, + in the topic', '30 04 00 01 "+" 00', MALFORMED),
  bad('PUBLISH, packet id 0', '32 06 00 01 "a" 00 00 00', PROTOCOL),
  fromServer('PUBLISH, subscription identifier 0', publish(2, '0b 00'), PROTOCOL),
  fromServer('PUBLISH, subscription identifier not minimal', publish(3, '0b 80 00'), MALFORMED),
  // acks
  ...['40', '50', '62', '70'].flatMap((first) => [
    bad(`ack ${first}, packet id 0`, `${first} 02 00 00`, PROTOCOL),
    bad(`ack ${first}, too short`, `${first} 01 00`, MALFORMED),
    bad(`ack ${first}, remaining length not minimal`, `${first} 82 00 00 01`, MALFORMED),
    bad(`ack ${first}, reason code 0x81 is for others`, `${first} 03 00 01 81`, PROTOCOL),
    bad(`ack ${first}, trailing byte`, `${first} 05 00 01 00 00 00`, MALFORMED),
    bad(`ack ${first}, property length beyond the packet`, `${first} 04 00 01 00 01`, MALFORMED),
    bad(`ack ${first}, property of another packet`, `${first} 07 00 01 00 03 23 00 01`, MALFORMED),
    bad(`ack ${first}, reason string twice`, `${first} 0a 00 01 00 06 1f 00 00 1f 00 00`, PROTOCOL),
    bad(`ack ${first}, reason string in bad UTF-8`, `${first} 08 00 01 00 04 1f 00 01 ff`, MALFORMED),
    bad(`ack ${first}, user property cut`, `${first} 07 00 01 00 03 26 00 00`, MALFORMED),
  ]),
  bad('PUBREL, flags 0', '60 02 00 01', MALFORMED),
  bad('PUBREL, reason code of PUBREC', '62 03 00 01 10', PROTOCOL),
  bad('PUBACK, reason code of PUBREL', '40 03 00 01 92', PROTOCOL),
  // SUBSCRIBE, UNSUBSCRIBE
  bad('SUBSCRIBE, flags', '83 07 00 01 00 00 01 "a" 00', MALFORMED),
  bad('SUBSCRIBE, remaining length not minimal', '82 87 00 00 01 00 00 01 "a" 00', MALFORMED),
  bad('SUBSCRIBE, packet id 0', '82 07 00 00 00 00 01 "a" 00', PROTOCOL),
  bad('SUBSCRIBE, no filter [MQTT-3.8.3-2]', '82 03 00 01 00', PROTOCOL),
  bad('SUBSCRIBE, no property length', '82 02 00 01', MALFORMED),
  bad('SUBSCRIBE, QoS 3', '82 07 00 01 00 00 01 "a" 03', PROTOCOL),
  bad('SUBSCRIBE, retain handling 3', '82 07 00 01 00 00 01 "a" 30', PROTOCOL),
  bad('SUBSCRIBE, reserved bit 6 [MQTT-3.8.3-5]', '82 07 00 01 00 00 01 "a" 40', MALFORMED),
  bad('SUBSCRIBE, reserved bit 7 [MQTT-3.8.3-5]', '82 07 00 01 00 00 01 "a" 80', MALFORMED),
  bad('SUBSCRIBE, no local, shared [MQTT-3.8.3-4]', '82 10 00 01 00 00 0a "$share/g/a" 04', PROTOCOL),
  bad('SUBSCRIBE, no local, ordered shared', '82 11 00 01 00 00 0b "$oshare/g/a" 04', PROTOCOL),
  bad('SUBSCRIBE, empty share name [MQTT-4.8.2-1]', '82 0f 00 01 00 00 09 "$share//a" 00', MALFORMED),
  bad('SUBSCRIBE, # in the share name [MQTT-4.8.2-2]', '82 11 00 01 00 00 0b "$share/g#/a" 00', MALFORMED),
  bad('SUBSCRIBE, no filter in the share', '82 0f 00 01 00 00 09 "$share/g/" 00', MALFORMED),
  bad('SUBSCRIBE, subscription identifier 0', '82 09 00 01 02 0b 00 00 01 "a" 00', PROTOCOL),
  bad('SUBSCRIBE, subscription identifier twice', '82 0b 00 01 04 0b 01 0b 02 00 01 "a" 00', PROTOCOL),
  bad('SUBSCRIBE, subscription identifier too long', '82 0d 00 01 06 0b 80 80 80 80 01 00 01 "a" 00', MALFORMED),
  bad('SUBSCRIBE, reason string', '82 0b 00 01 04 1f 00 01 "x" 00 01 "a" 00', MALFORMED),
  bad('UNSUBSCRIBE, flags', 'a0 06 00 01 00 00 01 "a"', MALFORMED),
  bad('UNSUBSCRIBE, no filter', 'a2 03 00 01 00', PROTOCOL),
  bad('UNSUBSCRIBE, subscription identifier', 'a2 08 00 01 02 0b 01 00 01 "a"', MALFORMED),
  bad('UNSUBSCRIBE, bad filter', 'a2 07 00 01 00 00 02 "+a"', MALFORMED),
  // PINGREQ
  bad('PINGREQ with a body', 'c0 01 00', MALFORMED),
  bad('PINGREQ, remaining length not minimal', 'c0 80 00', MALFORMED),
  // DISCONNECT
  bad('DISCONNECT, flags [MQTT-3.14.1-1]', 'e1 00', MALFORMED),
  bad('DISCONNECT, reason code of a server', 'e0 01 8e', PROTOCOL),
  bad('DISCONNECT, unknown reason code', 'e0 01 05', PROTOCOL),
  bad('DISCONNECT, server reference from a client', 'e0 06 00 04 1c 00 01 "s"', PROTOCOL),
  bad('DISCONNECT, trailing byte', 'e0 03 00 00 00', MALFORMED),
  bad('DISCONNECT, session expiry interval twice', 'e0 0c 00 0a 11 00 00 00 01 11 00 00 00 01', PROTOCOL),
  fromServer('DISCONNECT, session expiry interval [MQTT-3.14.2-2]', 'e0 07 80 05 11 00 00 00 01', PROTOCOL),
  fromServer('DISCONNECT, reason code of a client', 'e0 01 04', PROTOCOL),
  // AUTH
  bad('AUTH, flags [MQTT-3.15.1-1]', 'f1 06 18 04 15 00 01 "m"', MALFORMED),
  bad('AUTH, empty', 'f0 00', MALFORMED),
  bad('AUTH, no property length', 'f0 01 18', MALFORMED),
  bad('AUTH, success from a client', 'f0 06 00 04 15 00 01 "m"', PROTOCOL),
  bad('AUTH, unknown reason code', 'f0 06 1a 04 15 00 01 "m"', PROTOCOL),
  bad('AUTH, no method', 'f0 02 18 00', PROTOCOL),
  bad('AUTH, data without method', 'f0 06 18 04 16 00 01 "d"', PROTOCOL),
  fromServer('AUTH, re-authenticate from a server', 'f0 06 19 04 15 00 01 "m"', PROTOCOL),
  // from the server
  fromServer('CONNACK, no properties', '20 02 00 00', MALFORMED),
  fromServer('CONNACK, reserved flags', '20 03 02 00 00', MALFORMED),
  fromServer('CONNACK, reason code 0x8e is for others [MQTT-3.2.2-8]', '20 03 00 8e 00', PROTOCOL),
  fromServer('CONNACK, refused and session present [MQTT-3.2.2-6]', '20 03 01 87 00', PROTOCOL),
  fromServer('CONNACK, maximum QoS 2', connack(2, '24 02'), PROTOCOL),
  fromServer('CONNACK, retain available 2', connack(2, '25 02'), PROTOCOL),
  fromServer('CONNACK, receive maximum 0', connack(3, '21 00 00'), PROTOCOL),
  fromServer('CONNACK, request problem information', connack(2, '17 01'), MALFORMED),
  fromServer('SUBACK, no code', '90 03 00 01 00', MALFORMED),
  fromServer('SUBACK, unknown code', '90 04 00 01 00 11', PROTOCOL),
  fromServer('UNSUBACK, no code', 'b0 03 00 01 00', MALFORMED),
  fromServer('UNSUBACK, code of SUBACK', 'b0 04 00 01 00 01', PROTOCOL),
]

function no(name: string, wire: string, reason: number): InvalidFixture {
  return { name: `CONNECT, ${name}`, version: 5, wire, reason, connack: 5 }
}

function bad(name: string, wire: string, reason: number): InvalidFixture {
  return { name, version: 5, wire, reason }
}

function fromServer(name: string, wire: string, reason: number): InvalidFixture {
  return { name, version: 5, from: 'from-server', wire, reason }
}
