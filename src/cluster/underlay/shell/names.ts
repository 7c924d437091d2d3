import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { BrokerError } from '../../../base/errors.ts'
import type { UnderlayHostOptions } from '../contract.ts'
import type { Address } from '../core/index.ts'
import { addressOf, type Endpoint, isLoopback, isWildcard, normalIp } from './addresses.ts'

export type Resolve = NonNullable<UnderlayHostOptions['resolve']>

export const resolveName: Resolve = async (name) => {
  if (isIP(name) !== 0) return [name]
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

/** Whether a socket on `ip` can send there. */
function reaches(ip: string, target: string): boolean {
  return normalIp(ip) === '::' || isIP(normalIp(ip)) === isIP(normalIp(target))
}

/** The address to listen on. */
export async function listenIp(host: string, resolve: Resolve): Promise<string> {
  try {
    const [ip] = preferIpv4(await resolve(host))
    if (ip !== undefined) return ip
  } catch (cause) {
    throw new BrokerError('CONFIG_INVALID', `Cannot listen on cluster.host "${host}": no such name`, { cause })
  }
  throw new BrokerError('CONFIG_INVALID', `Cannot listen on cluster.host "${host}": it has no address`)
}

function preferIpv4(ips: readonly string[]): string[] {
  return [...ips].sort((a, b) => isIP(a) - isIP(b))
}

/** All addresses of all seeds that a socket on `ip` can reach, and the names of which nothing was found. */
export async function lookupSeeds(
  seeds: readonly Endpoint[],
  ip: string,
  resolve: Resolve,
): Promise<{ addresses: Address[]; missing: string[] }> {
  const missing: string[] = []
  const found = await Promise.all(
    seeds.map(async ({ host, port }) => {
      const ips = await resolve(host).catch(() => [])
      const usable = ips.filter((target) => reaches(ip, target))
      if (usable.length === 0) missing.push(host)
      return usable.map((target) => addressOf(target, port))
    }),
  )
  return { addresses: [...new Set(found.flat())], missing }
}

export interface AdvertiseOptions {
  /** As configured; null: found. */
  advertise: Endpoint | null
  /** Where we listen. */
  ip: string
  port: number
  /** Asked for only where it matters. */
  seeds: () => Promise<readonly Address[]>
}

/**
 * Where others find us: what is configured, else the address we listen on, else the one from which the way to the first
 * seed goes out, else the first of an interface that is no loopback.
 */
export async function advertisedAddress(options: AdvertiseOptions, resolve: Resolve): Promise<Address> {
  const { advertise, ip, port, seeds } = options
  if (advertise === null) {
    if (!isWildcard(ip)) return addressOf(ip, port)
    for (const seed of await seeds()) {
      const out = await outgoingIp(seed)
      if (out !== null) return addressOf(out, port)
    }
    return addressOf(firstInterfaceIp(ip), port)
  }
  const ips = await resolve(advertise.host).catch(() => [])
  const [usable] = preferIpv4(ips.filter((target) => reaches(ip, target)))
  if (usable !== undefined && !isWildcard(usable)) return addressOf(usable, advertise.port)
  throw new BrokerError(
    'CONFIG_INVALID',
    `Cannot advertise "${advertise.host}": it must have an address of the kind that cluster.host listens on`,
  )
}

/** The kernel's choice for the way to that address; nothing is sent. Null: there is no way. */
function outgoingIp(seed: Address): Promise<string | null> {
  const colon = seed.lastIndexOf(':')
  const host = seed.slice(0, colon).replace(/^\[|\]$/g, '')
  return new Promise((resolve) => {
    const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4')
    const end = (ip: string | null) => {
      socket.close()
      resolve(ip)
    }
    socket.once('error', () => end(null))
    socket.connect(Number(seed.slice(colon + 1)), host, () => end(socket.address().address))
  })
}

function firstInterfaceIp(wildcard: string): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  // A link-local one means something on its own link only.
  const usable = all.filter(({ address }) => reaches(wildcard, address) && !/^fe[89ab]/i.test(address))
  const outside = preferIpv4(usable.filter(({ address }) => !isLoopback(address)).map(({ address }) => address))
  return outside[0] ?? (isIP(wildcard) === 6 ? '::1' : '127.0.0.1')
}
