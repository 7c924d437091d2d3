import { writeFileSync } from 'node:fs'
import { loadSync } from '@grpc/proto-loader'
import { expect, test } from 'vitest'
import { DESCRIPTORS } from '../../../src/rpc/grpc/descriptors.ts'

const FILES = ['flockmq/link.proto', 'grpc/health/v1/health.proto', 'grpc/reflection/v1/reflection.proto']

function describeFiles() {
  return FILES.map((file) => {
    const definition = loadSync(file, { includeDirs: ['proto'] })
    const symbols = Object.keys(definition)
    let descriptor: Buffer = Buffer.alloc(0)
    for (const each of Object.values(definition)) {
      if ('fileDescriptorProtos' in each) descriptor = (each.fileDescriptorProtos as Buffer[])[0]!
    }
    // Field 1, the name: 0a, length, text.
    const name = descriptor.subarray(2, 2 + descriptor[1]!).toString()
    const services = symbols.filter((symbol) => !('format' in definition[symbol]!))
    return { name, services, symbols, descriptor: descriptor.toString('base64') }
  })
}

const HEAD = `/**
 * The files of proto/ as descriptors, for reflection.
 * Generated: UPDATE=1 npx vitest run test/rpc/grpc/descriptors.test.ts && npm run format
 */
export const DESCRIPTORS: readonly {
  name: string
  services: readonly string[]
  symbols: readonly string[]
  /** A FileDescriptorProto, base64. */
  descriptor: string
}[] = `

test('the descriptors are those of proto/', () => {
  const wanted = describeFiles()
  if (process.env.UPDATE === '1') {
    writeFileSync('src/rpc/grpc/descriptors.ts', `${HEAD}${JSON.stringify(wanted, null, 2)}\n`)
    return
  }
  expect(DESCRIPTORS).toEqual(wanted)
})
