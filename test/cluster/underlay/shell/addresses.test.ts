import { describe, expect, test } from 'vitest'
import { type Address, isAddress } from '../../../../src/cluster/underlay/core/index.ts'
import {
  addressOf,
  endpointOf,
  isLoopback,
  isWildcard,
  parseEndpoint,
} from '../../../../src/cluster/underlay/shell/addresses.ts'
import { advertisedAddress, listenIp, lookupSeeds } from '../../../../src/cluster/underlay/shell/names.ts'

describe('texts', () => {
  test.each([
    ['10.0.0.1:7', '10.0.0.1', 7],
    ['10.0.0.1', '10.0.0.1', 7946],
    ['flock-0.flock:7', 'flock-0.flock', 7],
    ['flock', 'flock', 7946],
    ['[fd00::1]:7', 'fd00::1', 7],
    ['[fd00::1]', 'fd00::1', 7946],
    ['fd00::1', 'fd00::1', 7946],
  ])('%s', (text, host, port) => {
    expect(parseEndpoint(text, 7946)).toEqual({ host, port })
  })

  test.each(['', 'a:b', 'a:b:c', 'a:0', 'a:65536', 'a:123456', '[a]:1', '[fd00::1', 'a b:1', 'a:-1', '[1.2.3.4]:1'])(
    '%s is none',
    (text) => expect(parseEndpoint(text, 7946)).toBeNull(),
  )

  test.each([
    ['10.0.0.1', '10.0.0.1:7'],
    ['::ffff:10.0.0.1', '10.0.0.1:7'],
    ['FD00:0:0::1', '[fd00::1]:7'],
    ['fe80::1%eth0', '[fe80::1]:7'],
  ])('%s in its one form', (ip, address) => {
    expect(addressOf(ip, 7)).toBe(address)
    expect(isAddress(address)).toBe(true)
    expect(addressOf(endpointOf(address as Address).host, endpointOf(address as Address).port)).toBe(address)
  })

  test.each([
    ['127.0.0.1', true, false],
    ['127.8.9.1', true, false],
    ['::1', true, false],
    ['::ffff:127.0.0.1', true, false],
    ['0.0.0.0', false, true],
    ['::', false, true],
    ['0:0:0:0:0:0:0:0', false, true],
    ['10.127.0.1', false, false],
    ['128.0.0.1', false, false],
  ])('%s: loopback %s, all %s', (ip, loopback, wildcard) => {
    expect([isLoopback(ip), isWildcard(ip)]).toEqual([loopback, wildcard])
  })
})

test.each([
  ['255.255.255.255:65535', true],
  ['0.0.0.0:1', true],
  ['256.0.0.1:1', false],
  ['1.2.3.256:1', false],
  ['1.2.3.4:0', false],
  ['1.2.3.4:65536', false],
  ['1.2.3:1', false],
  ['flock:1', false],
  ['[::1]:1', true],
  ['::1:1', false],
])('packets may carry %s: %s', (text, is) => {
  expect(isAddress(text)).toBe(is)
})

describe('names', () => {
  const names: Record<string, string[]> = {
    headless: ['10.0.0.1', '10.0.0.2', 'fd00::1'],
    six: ['fd00::9'],
    self: ['127.0.0.1'],
    any: ['0.0.0.0'],
  }
  const resolve = async (name: string) => {
    const found = /^[\d.]+$|:/.test(name) ? [name] : names[name]
    if (found === undefined) throw new Error('ENOTFOUND')
    return found
  }
  const seeds = (...hosts: string[]) => hosts.map((host) => ({ host, port: 7 }))

  test('a name stands for all its addresses that the socket can reach', async () => {
    expect(await lookupSeeds(seeds('headless', '10.0.0.2'), '0.0.0.0', resolve)).toEqual({
      addresses: ['10.0.0.1:7', '10.0.0.2:7'],
      missing: [],
    })
    expect(await lookupSeeds(seeds('headless'), 'fd00::5', resolve)).toEqual({
      addresses: ['[fd00::1]:7'],
      missing: [],
    })
    expect((await lookupSeeds(seeds('headless'), '::', resolve)).addresses).toHaveLength(3)
  })

  test('what is not found is said', async () => {
    expect(await lookupSeeds(seeds('nobody', 'six', 'self'), '10.0.0.5', resolve)).toEqual({
      addresses: ['127.0.0.1:7'],
      missing: ['nobody', 'six'],
    })
  })

  test.each([
    ['10.0.0.5', null, [], '10.0.0.5:7'],
    ['10.0.0.5', 'headless', [], '10.0.0.1:9'],
    ['0.0.0.0', '1.2.3.4', [], '1.2.3.4:9'],
    ['::', '1.2.3.4', [], '1.2.3.4:9'],
    ['0.0.0.0', null, ['127.0.0.1:5'], '127.0.0.1:7'],
    ['::', null, ['[::1]:5'], '[::1]:7'],
  ])('listening on %s, told %s, seeds %j: %s', async (ip, host, known, address) => {
    const advertise = host === null ? null : { host, port: 9 }
    const options = { advertise, ip, port: 7, seeds: async () => known as Address[] }
    expect(await advertisedAddress(options, resolve)).toBe(address)
  })

  test.each(['nobody', 'six', 'any'])('%s cannot be told to others from IPv4', async (host) => {
    const options = { advertise: { host, port: 9 }, ip: '0.0.0.0', port: 7, seeds: async () => [] }
    await expect(advertisedAddress(options, resolve)).rejects.toThrow(`Cannot advertise "${host}"`)
  })

  test('a name to listen on gives IPv4 first', async () => {
    names.localhost = ['::1', '127.0.0.1']
    expect(await listenIp('localhost', resolve)).toBe('127.0.0.1')
    await expect(listenIp('nobody', resolve)).rejects.toThrow('Cannot listen on cluster.host "nobody": no such name')
  })
})
