import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PROXY_HEADER_BYTES_MAX, parseProxyHeader } from '../../../src/mqtt/listener/proxy-protocol.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

function v2(command: number, family: number, body: Buffer): Buffer {
  const head = Buffer.from([command, family, body.length >> 8, body.length & 0xff])
  return Buffer.concat([SIGNATURE, head, body])
}

function tlv(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value])
}

const V4 = Buffer.from([10, 1, 2, 3, 192, 168, 0, 1, 0x1f, 0x90, 0x07, 0x5b])
const V6 = Buffer.from(`20010db8${'00'.repeat(11)}01${'fe80'}${'00'.repeat(13)}01${'ffff0000'}`, 'hex')
const v1 = (line: string) => parseProxyHeader(Buffer.from(line, 'latin1'))

describe('version 1', () => {
  test.each([
    ['PROXY TCP4 1.2.3.4 5.6.7.8 1000 1883\r\n', { family: 'ipv4', address: '1.2.3.4', port: 1000 }],
    ['PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n', { family: 'ipv4', address: '255.255.255.255', port: 65535 }],
    ['PROXY TCP6 2001:db8::1 ::1 40000 1883\r\n', { family: 'ipv6', address: '2001:db8::1', port: 40000 }],
    ['PROXY UNKNOWN\r\n', null],
    ['PROXY UNKNOWN ffff:f... 1 2 whatever\r\n', null],
  ])('%j', (line, source) => {
    expect(v1(`${line}rest`)).toEqual({ state: 'complete', bytes: line.length, source, tlvs: [] })
  })

  test.each([
    'PROXY TCP4 1.2.3.4 5.6.7.8 1000\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 1000 1883 \r\n',
    'PROXY TCP4  1.2.3.4 5.6.7.8 1000 1883\r\n',
    'PROXY TCP4 01.2.3.4 5.6.7.8 1000 1883\r\n',
    'PROXY TCP4 1.2.3 5.6.7.8 1000 1883\r\n',
    'PROXY TCP4 ::1 ::1 1000 1883\r\n',
    'PROXY TCP6 1.2.3.4 5.6.7.8 1000 1883\r\n',
    'PROXY TCP6 fe80::1%eth0 ::1 1000 1883\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 65536 1883\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 01 1883\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 -1 1883\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 1000 1e3\r\n',
    'PROXY UDP4 1.2.3.4 5.6.7.8 1000 1883\r\n',
    'PROXY UNKNOWNX\r\n',
    'PROXY \r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 1000 1883\rX',
    'PROXY TCP4 1.2.3.4 5.6.7.8 1000 1883\n',
    'PROXY TCP4\t1.2.3.4',
    'proxy TCP4',
    'GET / HTTP/1.1',
    '\x10\x10\x00\x04MQTT',
  ])('%j is malformed', (line) => {
    expect(v1(line).state).toBe('malformed')
  })

  test('at most 107 bytes', () => {
    const longest = `PROXY UNKNOWN ${'x'.repeat(107 - 14 - 2)}\r\n`
    expect(longest.length).toBe(107)
    expect(v1(longest)).toMatchObject({ state: 'complete', bytes: 107 })
    expect(v1(longest.replace('x', 'xx')).state).toBe('malformed')
    expect(v1(longest.slice(0, 106)).state).toBe('incomplete')
    expect(v1('PROXY UNKNOWN '.padEnd(107, 'x')).state).toBe('malformed')
  })
})

describe('version 2', () => {
  test('addresses of every family', () => {
    expect(parseProxyHeader(v2(0x21, 0x11, V4))).toEqual({
      state: 'complete',
      bytes: 28,
      source: { family: 'ipv4', address: '10.1.2.3', port: 8080 },
      tlvs: [],
    })
    expect(parseProxyHeader(v2(0x21, 0x21, V6))).toMatchObject({
      source: { family: 'ipv6', address: '2001:db8::1', port: 65535 },
    })
    const unix = Buffer.alloc(216)
    unix.write('/run/client.sock', 0)
    unix.write('/run/server.sock', 108)
    expect(parseProxyHeader(v2(0x21, 0x31, unix))).toMatchObject({
      source: { family: 'unix', address: '/run/client.sock', port: 0 },
    })
    expect(parseProxyHeader(v2(0x21, 0x00, Buffer.alloc(0)))).toMatchObject({ state: 'complete', source: null })
  })

  test.each([
    ['00000000000000000000000000000001', '::1'],
    ['00000000000000000000000000000000', '::'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000100010001000100010001', '2001:db8:1:1:1:1:1:1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['00000000000000000000ffff01020304', '1.2.3.4'],
  ])('IPv6 %s is %s', (bytes, text) => {
    const body = Buffer.concat([Buffer.from(bytes, 'hex'), Buffer.alloc(20)])
    expect(parseProxyHeader(v2(0x21, 0x21, body))).toMatchObject({ source: { address: text } })
  })

  test("LOCAL keeps the connection's own address, whatever follows", () => {
    const header = v2(0x20, 0x11, Buffer.from([1, 2, 3]))
    expect(parseProxyHeader(header)).toEqual({ state: 'complete', bytes: 19, source: null, tlvs: [] })
  })

  test('TLVs are handed on and must fill the rest exactly', () => {
    const name = tlv(0x02, Buffer.from('broker.example'))
    const header = v2(0x21, 0x11, Buffer.concat([V4, name, tlv(0x04, Buffer.alloc(5))]))
    const parsed = parseProxyHeader(Buffer.concat([header, Buffer.from('client')]))
    expect(parsed).toMatchObject({ state: 'complete', bytes: header.length })
    if (parsed.state === 'complete') {
      expect(parsed.tlvs.map(({ type, value }) => [type, value.toString('latin1')])).toEqual([
        [0x02, 'broker.example'],
        [0x04, '\0\0\0\0\0'],
      ])
    }
    expect(parseProxyHeader(v2(0x21, 0x11, Buffer.concat([V4, name.subarray(0, 10)]))).state).toBe('malformed')
    expect(parseProxyHeader(v2(0x21, 0x11, Buffer.concat([V4, Buffer.from([2, 0])]))).state).toBe('malformed')
  })

  test('a CRC-32C is checked', () => {
    const unsigned = v2(0x21, 0x11, Buffer.concat([V4, tlv(0x03, Buffer.alloc(4))]))
    const signed = Buffer.from(unsigned)
    signed.writeUInt32BE(crc32c(unsigned), signed.length - 4)
    expect(parseProxyHeader(signed).state).toBe('complete')
    signed[20]! ^= 1
    expect(parseProxyHeader(signed)).toEqual({ state: 'malformed', reason: 'wrong checksum' })
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  })

  test.each([
    ['version 1 in the binary form', v2(0x11, 0x11, V4)],
    ['unknown command', v2(0x22, 0x11, V4)],
    ['datagrams', v2(0x21, 0x12, V4)],
    ['unknown family', v2(0x21, 0x41, V4)],
    ['too short for its address', v2(0x21, 0x11, V4.subarray(0, 11))],
    ['wrong signature', Buffer.from('0d0a0d0a000d0a515549540b', 'hex')],
  ])('%s is malformed', (_what, header) => {
    expect(parseProxyHeader(header).state).toBe('malformed')
  })

  test('the length is bounded before the bytes arrive', () => {
    const body = Buffer.alloc(PROXY_HEADER_BYTES_MAX - 16)
    expect(parseProxyHeader(v2(0x20, 0, body)).state).toBe('complete')
    const head = v2(0x20, 0, Buffer.alloc(PROXY_HEADER_BYTES_MAX - 15)).subarray(0, 16)
    expect(parseProxyHeader(head).state).toBe('malformed')
  })
})

describe('any bytes', () => {
  const v2Header = fc
    .tuple(fc.constantFrom(0x20, 0x21), fc.constantFrom(0x00, 0x11, 0x21, 0x31), fc.uint8Array({ maxLength: 300 }))
    .map(([command, family, body]) => v2(command, family, Buffer.from(body)))
  const v1Header = fc
    .tuple(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }))
    .map(([from, to, fromPort, toPort]) => Buffer.from(`PROXY TCP4 ${from} ${to} ${fromPort} ${toPort}\r\n`))
  const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
  const mutated = fc
    .tuple(fc.oneof(v1Header, v2Header), fc.nat(), fc.nat(255), fc.boolean())
    .map(([header, at, byte, mutate]) => {
      if (mutate) header[at % header.length] = byte
      return header
    })

  test('never throws, and what is complete, short or malformed does not depend on how it arrives', () => {
    fc.assert(
      fc.property(fc.oneof(garbage, mutated), (input) => {
        const whole = parseProxyHeader(input)
        let settled = false
        for (let length = 0; length <= input.length; length++) {
          const part = parseProxyHeader(input.subarray(0, length))
          if (part.state === 'incomplete') {
            expect(settled).toBe(false)
            continue
          }
          settled = true
          expect(part.state).toBe(whole.state)
          if (part.state === 'complete') expect(part).toEqual(whole)
        }
        if (whole.state === 'incomplete') expect(input.length).toBeLessThan(PROXY_HEADER_BYTES_MAX)
      }),
      { numRuns: 2_000 },
    )
  })

  test('every version 1 header written is read', () => {
    fc.assert(
      fc.property(v1Header, (header) => {
        const [, , address, , port] = header.toString().trim().split(' ')
        expect(parseProxyHeader(header)).toMatchObject({
          state: 'complete',
          bytes: header.length,
          source: { address, port: Number(port) },
        })
      }),
    )
  })
})

/** A second, table-driven CRC-32C, so that the parser's is not checked by itself. */
function crc32c(bytes: Buffer): number {
  const table = Array.from({ length: 256 }, (_, n) => {
    let c = n
    for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1
    return c >>> 0
  })
  let crc = 0xffffffff
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}
