import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, test } from 'vitest'
import { encodePacket } from '../../../src/mqtt/codec/index.ts'
import { packets, SIDES } from './arbitraries.ts'
import { decodeFrame } from './bytes.ts'
import { encodeForwarded, forPeer, peerDecode, peerEncode, toPeer } from './peer.ts'

/** The codec against `mqtt-packet`, which was written by others from the same specification. */
describe.each(SIDES)('MQTT level %i %s', (version, direction) => {
  const comparable = packets(version, direction)
    .map(forPeer)
    .filter((packet) => packet !== null)
    // The peer wants a topic even where an alias stands for it.
    .filter((packet) => packet.type !== 'publish' || packet.topic !== '')

  test('what we write, the peer reads', () => {
    fc.assert(
      fc.property(comparable, (packet) => {
        const read = peerDecode(encodePacket(packet, version), version)
        deepEqual(read, withoutEmptyProperties(toPeer(packet, version)))
      }),
      { numRuns: 500, seed: 7 },
    )
  })

  test('what the peer writes, we read', () => {
    fc.assert(
      fc.property(comparable, (packet) => {
        const frame = peerEncode(packet, version)
        const read = decodeFrame(frame, version, direction)
        if (read.type === 'connect' && read.will !== null) {
          // The peer has an order of its own for properties.
          deepEqual(read.will.rawProperties.length, encodeForwarded(read.will.properties).length)
          read.will.rawProperties = encodeForwarded(read.will.properties)
        }
        deepEqual(read, packet)
      }),
      { numRuns: 500, seed: 8 },
    )
  })
})

/** The peer leaves out a property list that is empty. */
function withoutEmptyProperties(packet: object): object {
  const bag = { ...packet } as Record<string, unknown>
  if (bag.properties !== undefined && Object.keys(bag.properties as object).length === 0) delete bag.properties
  if (bag.will !== undefined) bag.will = withoutEmptyProperties(bag.will as object)
  return bag
}
