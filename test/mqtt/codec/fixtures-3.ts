import type { Connect } from '../../../src/mqtt/codec/index.ts'
import type { InvalidFixture, ValidFixture } from './bytes.ts'

const CONNECT: Connect = {
  type: 'connect',
  version: 4,
  clientId: '',
  cleanStart: true,
  keepAliveSeconds: 60,
  username: null,
  password: null,
  will: null,
  properties: {},
}
const NONE = new Uint8Array(0)
const options = { noLocal: false, retainAsPublished: false, retainHandling: 0 }

/** MQTT 3.1 and 3.1.1, well formed. */
export const VALID_3: ValidFixture[] = [
  {
    name: 'CONNECT 3.1.1, least',
    version: 4,
    wire: `
      10 0c         # CONNECT, 12 bytes
      00 04 "MQTT"
      04            # level
      02            # clean session
      00 3c         # keep alive 60
      00 00         # client id`,
    packet: CONNECT,
  },
  {
    name: 'CONNECT 3.1.1, everything',
    version: 4,
    wire: `
      10 25
      00 04 "MQTT" 04
      ee            # user name, password, will retain, will QoS 1, will, clean
      ff ff         # keep alive
      00 02 "id"
      00 03 "w/t"   # will topic
      00 02 00 ff   # will payload
      00 06 "tenant"
      00 04 00 "pw" fe`,
    packet: {
      ...CONNECT,
      clientId: 'id',
      keepAliveSeconds: 65_535,
      username: 'tenant',
      password: Buffer.from([0, 0x70, 0x77, 0xfe]),
      will: {
        topic: 'w/t',
        payload: Buffer.from([0, 255]),
        qos: 1,
        retain: true,
        properties: {},
        rawProperties: NONE,
      },
    },
  },
  {
    name: 'CONNECT 3.1.1, clean session 0 and no client id: the session refuses it, not the codec',
    version: 4,
    wire: '10 0c 00 04 "MQTT" 04 00 00 00 00 00',
    packet: { ...CONNECT, cleanStart: false, keepAliveSeconds: 0 },
  },
  {
    name: 'CONNECT 3.1',
    version: 3,
    wire: `
      10 10
      00 06 "MQIsdp" 03
      02 00 0a
      00 02 "c1"`,
    packet: { ...CONNECT, version: 3, clientId: 'c1', keepAliveSeconds: 10 },
  },
  {
    name: 'CONNECT 3.1, user name and password flagged and absent: the remaining length outweighs the flags',
    version: 3,
    wire: '10 0f 00 06 "MQIsdp" 03 c2 00 0a 00 01 "c"',
    packet: { ...CONNECT, version: 3, clientId: 'c', keepAliveSeconds: 10 },
    oneWay: true,
  },
  {
    name: 'CONNECT 3.1, unused connect flags and fixed header flags',
    version: 3,
    wire: '18 0f 00 06 "MQIsdp" 03 3b 00 0a 00 01 "c"',
    packet: { ...CONNECT, version: 3, clientId: 'c', keepAliveSeconds: 10 },
    oneWay: true,
  },
  {
    name: 'CONNECT 3.1.1, remaining length of two bytes where one would do',
    version: 4,
    wire: '10 8c 00 00 04 "MQTT" 04 02 00 3c 00 00',
    packet: CONNECT,
    oneWay: true,
  },
  {
    name: 'CONNACK 3.1.1, session present',
    version: 4,
    from: 'from-server',
    wire: '20 02 01 00',
    packet: { type: 'connack', sessionPresent: true, reasonCode: 0, properties: {} },
  },
  {
    name: 'CONNACK 3.1, reserved byte',
    version: 3,
    from: 'from-server',
    wire: '20 02 01 00',
    packet: { type: 'connack', sessionPresent: false, reasonCode: 0, properties: {} },
    oneWay: true,
  },
  ...[0x84, 0x85, 0x88, 0x86, 0x87].map(
    (reasonCode, index): ValidFixture => ({
      name: `CONNACK 3.1.1, return code ${index + 1}`,
      version: 4,
      from: 'from-server',
      wire: `20 02 00 0${index + 1}`,
      packet: { type: 'connack', sessionPresent: false, reasonCode, properties: {} },
    }),
  ),
  {
    name: 'PUBLISH 3.1.1, QoS 0',
    version: 4,
    wire: '30 07 00 03 "a/b" "hi"',
    packet: {
      type: 'publish',
      topic: 'a/b',
      payload: Buffer.from('hi'),
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
      properties: {},
    },
  },
  {
    name: 'PUBLISH 3.1.1, QoS 2, RETAIN, DUP, no payload, topic in UTF-8',
    version: 4,
    wire: `
      3d 0c
      00 08 c3 a9 2f f0 9f 98 80 2f   # e acute, slash, an emoji of four bytes, slash
      ff fe                           # packet id`,
    packet: {
      type: 'publish',
      topic: 'é/😀/',
      payload: Buffer.alloc(0),
      qos: 2,
      retain: true,
      dup: true,
      packetId: 0xfffe,
      properties: {},
    },
  },
  {
    name: 'PUBLISH 3.1.1, control characters, a non-character and U+FEFF in the topic',
    version: 4,
    wire: '30 0d 00 0b 01 1f 7f c2 9f ef bb bf ef bf bf',
    packet: {
      type: 'publish',
      topic: '\u0001\u001f\u007f\u009f\ufeff\uffff',
      payload: Buffer.alloc(0),
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
      properties: {},
    },
  },
  ...(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).map(
    (type, index): ValidFixture => ({
      name: `${type} 3.1.1`,
      version: 4,
      wire: `${['40', '50', '62', '70'][index]} 02 12 34`,
      packet: { type, packetId: 0x1234, reasonCode: 0, properties: {} },
    }),
  ),
  {
    name: 'PUBREL 3.1, sent again with DUP',
    version: 3,
    wire: '6a 02 00 01',
    packet: { type: 'pubrel', packetId: 1, reasonCode: 0, properties: {} },
    oneWay: true,
  },
  {
    name: 'SUBSCRIBE 3.1.1, three filters, one shared',
    version: 4,
    wire: `
      82 19
      00 0a         # packet id
      00 03 "a/#" 01
      00 01 "+" 00
      00 0a "$share/g/t" 02`,
    packet: {
      type: 'subscribe',
      packetId: 10,
      subscriptions: [
        { filter: 'a/#', qos: 1, ...options },
        { filter: '+', qos: 0, ...options },
        { filter: '$share/g/t', qos: 2, ...options },
      ],
      properties: {},
    },
  },
  {
    name: 'SUBSCRIBE 3.1, DUP and unused bits of the requested QoS',
    version: 3,
    wire: '8a 06 00 01 00 01 "a" fd',
    packet: { type: 'subscribe', packetId: 1, subscriptions: [{ filter: 'a', qos: 1, ...options }], properties: {} },
    oneWay: true,
  },
  {
    name: 'SUBACK 3.1.1',
    version: 4,
    from: 'from-server',
    wire: '90 06 00 0a 00 01 02 80',
    packet: { type: 'suback', packetId: 10, reasonCodes: [0, 1, 2, 0x80], properties: {} },
  },
  {
    name: 'UNSUBSCRIBE 3.1.1',
    version: 4,
    wire: 'a2 08 00 0b 00 01 "a" 00 01 "#"',
    packet: { type: 'unsubscribe', packetId: 11, filters: ['a', '#'], properties: {} },
  },
  {
    name: 'UNSUBACK 3.1.1',
    version: 4,
    from: 'from-server',
    wire: 'b0 02 00 0b',
    packet: { type: 'unsuback', packetId: 11, reasonCodes: [], properties: {} },
  },
  { name: 'PINGREQ', version: 4, wire: 'c0 00', packet: { type: 'pingreq' } },
  { name: 'PINGREQ, long remaining length', version: 4, wire: 'c0 80 00', packet: { type: 'pingreq' }, oneWay: true },
  { name: 'PINGRESP', version: 4, from: 'from-server', wire: 'd0 00', packet: { type: 'pingresp' } },
  {
    name: 'DISCONNECT 3.1.1',
    version: 4,
    wire: 'e0 00',
    packet: { type: 'disconnect', reasonCode: 0, properties: {} },
  },
]

const MALFORMED = 0x81
const PROTOCOL = 0x82
const VERSION = 0x84

/** MQTT 3.1 and 3.1.1, to be refused. Without `connack` the connection closes in silence. */
export const INVALID_3: InvalidFixture[] = [
  // CONNECT: who is it that speaks?
  bad('protocol level 3 of MQTT', '10 0c 00 04 "MQTT" 03 02 00 3c 00 00', VERSION, 4),
  bad('protocol level 0', '10 0c 00 04 "MQTT" 00 02 00 3c 00 00', VERSION, 4),
  bad('protocol level 6', '10 0c 00 04 "MQTT" 06 02 00 3c 00 00', VERSION, 5),
  bad('level 4 with the bridge bit', '10 0c 00 04 "MQTT" 84 02 00 3c 00 00', VERSION, 4),
  bad('level 0 with the bridge bit', '10 0c 00 04 "MQTT" 80 02 00 3c 00 00', VERSION, 4),
  bad('protocol level 127', '10 0c 00 04 "MQTT" 7f 02 00 3c 00 00', VERSION, 5),
  bad('MQIsdp level 4', '10 0e 00 06 "MQIsdp" 04 02 00 3c 00 00', VERSION, 3),
  bad('an unknown level is refused before what follows it', '10 07 00 04 "MQTT" 09', VERSION, 5),
  bad('protocol name MQTX', '10 0c 00 04 "MQTX" 04 02 00 3c 00 00', VERSION),
  bad('protocol name in lower case', '10 0c 00 04 "mqtt" 04 02 00 3c 00 00', VERSION),
  bad('no bytes at all', '10 00', MALFORMED),
  bad('cut in the protocol name', '10 05 00 04 "MQT"', MALFORMED),
  bad('no protocol level', '10 06 00 04 "MQTT"', MALFORMED),
  // CONNECT: flags
  bad('fixed header flags', '11 0c 00 04 "MQTT" 04 02 00 3c 00 00', MALFORMED),
  bad('reserved connect flag [MQTT-3.1.2-3]', '10 0c 00 04 "MQTT" 04 03 00 3c 00 00', MALFORMED),
  bad('will QoS 3', '10 12 00 04 "MQTT" 04 1e 00 3c 00 00 00 01 "t" 00 01 "p"', MALFORMED),
  bad('will QoS 3 in 3.1', '10 14 00 06 "MQIsdp" 03 1e 00 3c 00 00 00 01 "t" 00 01 "p"', MALFORMED),
  bad('will QoS without will', '10 0c 00 04 "MQTT" 04 0a 00 3c 00 00', MALFORMED),
  bad('will retain without will', '10 0c 00 04 "MQTT" 04 22 00 3c 00 00', MALFORMED),
  bad('password without user name', '10 0f 00 04 "MQTT" 04 42 00 3c 00 00 00 01 "p"', MALFORMED),
  bad('password without user name in 3.1', '10 11 00 06 "MQIsdp" 03 42 00 3c 00 00 00 01 "p"', MALFORMED),
  // CONNECT: payload
  bad('trailing byte', '10 0d 00 04 "MQTT" 04 02 00 3c 00 00 00', MALFORMED),
  bad('trailing field', '10 0f 00 04 "MQTT" 04 02 00 3c 00 00 00 01 "u"', MALFORMED),
  bad('no client id', '10 0a 00 04 "MQTT" 04 02 00 3c', MALFORMED),
  bad('client id longer than the packet', '10 0d 00 04 "MQTT" 04 02 00 3c 00 02 "a"', MALFORMED),
  bad('client id with U+0000', '10 0d 00 04 "MQTT" 04 02 00 3c 00 01 00', MALFORMED),
  bad('client id with a surrogate', '10 0f 00 04 "MQTT" 04 02 00 3c 00 03 ed a0 80', MALFORMED),
  bad('user name flagged and absent', '10 0c 00 04 "MQTT" 04 82 00 3c 00 00', MALFORMED),
  bad('user name in overlong UTF-8', '10 10 00 04 "MQTT" 04 82 00 3c 00 00 00 02 c0 af', MALFORMED),
  bad('will absent', '10 0c 00 04 "MQTT" 04 06 00 3c 00 00', MALFORMED),
  bad('will payload absent', '10 0f 00 04 "MQTT" 04 06 00 3c 00 00 00 01 "t"', MALFORMED),
  bad('will topic with a wildcard', '10 11 00 04 "MQTT" 04 06 00 3c 00 00 00 01 "+" 00 00', MALFORMED),
  bad('will topic empty', '10 10 00 04 "MQTT" 04 06 00 3c 00 00 00 00 00 00', MALFORMED),
  bad('will topic with U+0000', '10 11 00 04 "MQTT" 04 06 00 3c 00 00 00 01 00 00 00', MALFORMED),
  // PUBLISH
  bad('PUBLISH QoS 3 [MQTT-3.3.1-4]', '36 05 00 01 "a" 00 01', MALFORMED),
  bad('PUBLISH QoS 0 with DUP [MQTT-3.3.1-2]', '38 03 00 01 "a"', MALFORMED),
  bad('PUBLISH QoS 1 with packet id 0', '32 05 00 01 "a" 00 00', PROTOCOL),
  bad('PUBLISH QoS 2 with packet id 0', '34 05 00 01 "a" 00 00', PROTOCOL),
  bad('PUBLISH QoS 1 without packet id', '32 03 00 01 "a"', MALFORMED),
  bad('PUBLISH QoS 1, half a packet id', '32 04 00 01 "a" 01', MALFORMED),
  bad('PUBLISH, empty', '30 00', MALFORMED),
  bad('PUBLISH, half a topic length', '30 01 00', MALFORMED),
  bad('PUBLISH, topic longer than the packet', '30 03 00 02 "a"', MALFORMED),
  bad('PUBLISH, empty topic', '30 02 00 00', PROTOCOL),
  bad('PUBLISH, + in the topic', '30 05 00 03 "a/+"', MALFORMED),
  bad('PUBLISH, # in the topic', '30 03 00 01 "#"', MALFORMED),
  bad('PUBLISH, U+0000 in the topic', '30 04 00 02 "a" 00', MALFORMED),
  bad('PUBLISH, surrogate in the topic', '30 05 00 03 ed bf bf', MALFORMED),
  bad('PUBLISH, cut UTF-8 in the topic', '30 04 00 02 e2 82', MALFORMED),
  bad('PUBLISH, above U+10FFFF', '30 06 00 04 f4 90 80 80', MALFORMED),
  // acks
  ...['40', '50', '62', '70'].flatMap((first) => [
    bad(`ack ${first}, packet id 0`, `${first} 02 00 00`, PROTOCOL),
    bad(`ack ${first}, too short`, `${first} 01 00`, MALFORMED),
    bad(`ack ${first}, too long`, `${first} 03 00 01 00`, MALFORMED),
  ]),
  bad('PUBACK, flags', '41 02 00 01', MALFORMED),
  bad('PUBREC, flags', '52 02 00 01', MALFORMED),
  bad('PUBREL, flags 0 [MQTT-3.6.1-1]', '60 02 00 01', MALFORMED),
  bad('PUBREL, DUP in 3.1.1', '6a 02 00 01', MALFORMED),
  bad('PUBCOMP, flags', '78 02 00 01', MALFORMED),
  // SUBSCRIBE, UNSUBSCRIBE
  bad('SUBSCRIBE, flags 0 [MQTT-3.8.1-1]', '80 06 00 01 00 01 "a" 00', MALFORMED),
  bad('SUBSCRIBE, DUP in 3.1.1', '8a 06 00 01 00 01 "a" 00', MALFORMED),
  bad('SUBSCRIBE, packet id 0', '82 06 00 00 00 01 "a" 00', PROTOCOL),
  bad('SUBSCRIBE, no packet id', '82 00', MALFORMED),
  bad('SUBSCRIBE, no filter [MQTT-3.8.3-3]', '82 02 00 01', PROTOCOL),
  bad('SUBSCRIBE, no QoS', '82 05 00 01 00 01 "a"', MALFORMED),
  bad('SUBSCRIBE, second filter cut', '82 08 00 01 00 01 "a" 00 00 01', MALFORMED),
  bad('SUBSCRIBE, QoS 3', '82 06 00 01 00 01 "a" 03', MALFORMED),
  bad('SUBSCRIBE, reserved bits', '82 06 00 01 00 01 "a" 04', MALFORMED),
  bad('SUBSCRIBE, empty filter', '82 05 00 01 00 00 00', MALFORMED),
  bad('SUBSCRIBE, a#', '82 07 00 01 00 02 "a#" 00', MALFORMED),
  bad('SUBSCRIBE, #/a', '82 08 00 01 00 03 "#/a" 00', MALFORMED),
  bad('SUBSCRIBE, a+', '82 07 00 01 00 02 "a+" 00', MALFORMED),
  bad('SUBSCRIBE, U+0000', '82 07 00 01 00 02 "a" 00 00', MALFORMED),
  bad('SUBSCRIBE, $share//a', '82 0e 00 01 00 09 "$share//a" 00', MALFORMED),
  bad('SUBSCRIBE, $share/g', '82 0d 00 01 00 08 "$share/g" 00', MALFORMED),
  bad('SUBSCRIBE, $share/+/a', '82 0f 00 01 00 0a "$share/+/a" 00', MALFORMED),
  bad('UNSUBSCRIBE, flags 0 [MQTT-3.10.1-1]', 'a0 05 00 01 00 01 "a"', MALFORMED),
  bad('UNSUBSCRIBE, packet id 0', 'a2 05 00 00 00 01 "a"', PROTOCOL),
  bad('UNSUBSCRIBE, no filter [MQTT-3.10.3-2]', 'a2 02 00 01', PROTOCOL),
  bad('UNSUBSCRIBE, bad filter', 'a2 06 00 01 00 02 "a#"', MALFORMED),
  // PINGREQ, DISCONNECT, types
  bad('PINGREQ with a body', 'c0 01 00', MALFORMED),
  bad('PINGREQ, flags', 'c1 00', MALFORMED),
  bad('DISCONNECT with a body', 'e0 01 00', MALFORMED),
  bad('DISCONNECT, flags', 'e1 00', MALFORMED),
  bad('type 0', '00 00', MALFORMED),
  bad('type 15 before 5.0', 'f0 00', MALFORMED),
  bad('CONNACK from a client', '20 02 00 00', PROTOCOL),
  bad('SUBACK from a client', '90 03 00 01 00', PROTOCOL),
  bad('UNSUBACK from a client', 'b0 02 00 01', PROTOCOL),
  bad('PINGRESP from a client', 'd0 00', PROTOCOL),
  // from the server
  fromServer('CONNECT from a server', '10 0c 00 04 "MQTT" 04 02 00 3c 00 00', PROTOCOL),
  fromServer('SUBSCRIBE from a server', '82 06 00 01 00 01 "a" 00', PROTOCOL),
  fromServer('UNSUBSCRIBE from a server', 'a2 05 00 01 00 01 "a"', PROTOCOL),
  fromServer('PINGREQ from a server', 'c0 00', PROTOCOL),
  fromServer('DISCONNECT from a 3.x server', 'e0 00', PROTOCOL),
  fromServer('CONNACK, reserved flags [MQTT-3.2.2-1]', '20 02 02 00', MALFORMED),
  fromServer('CONNACK, return code 6', '20 02 00 06', PROTOCOL),
  fromServer('CONNACK, refused and session present', '20 02 01 05', PROTOCOL),
  fromServer('CONNACK, too short', '20 01 00', MALFORMED),
  fromServer('CONNACK, too long', '20 03 00 00 00', MALFORMED),
  fromServer('SUBACK, no code', '90 02 00 01', MALFORMED),
  fromServer('SUBACK, code 3', '90 03 00 01 03', PROTOCOL),
  fromServer('UNSUBACK, too long', 'b0 03 00 01 00', MALFORMED),
  fromServer('UNSUBACK, packet id 0', 'b0 02 00 00', PROTOCOL),
]

function bad(name: string, wire: string, reason: number, connack?: 3 | 4 | 5): InvalidFixture {
  return { name, version: 4, wire, reason, ...(connack === undefined ? {} : { connack }) }
}

function fromServer(name: string, wire: string, reason: number): InvalidFixture {
  return { name, version: 4, from: 'from-server', wire, reason }
}
