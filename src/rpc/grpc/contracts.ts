import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type AnyDefinition, loadSync, type ServiceDefinition } from '@grpc/proto-loader'
import { assert } from '../../base/assert.ts'
import { FieldReader } from '../link/core/protobuf.ts'

const FILES = ['flockmq/link.proto', 'grpc/health/v1/health.proto', 'grpc/reflection/v1/reflection.proto']

/** A file of proto/, as reflection tells of it. */
export interface ContractFile {
  name: string
  services: readonly string[]
  /** Services, messages and enums, by full name. */
  symbols: readonly string[]
  /** A FileDescriptorProto. */
  descriptor: Buffer
}

const definitions = FILES.map((file) => loadSync(file, { includeDirs: [protoFolder()], enums: String, longs: Number }))

export const CONTRACTS: readonly ContractFile[] = definitions.map((definition) => {
  const symbols = Object.keys(definition)
  const descriptor = descriptorOf(Object.values(definition))
  const reader = new FieldReader(descriptor)
  assert(reader.next() && reader.field === 1, 'A descriptor begins with the name of its file')
  return {
    name: reader.bytes.toString(),
    services: symbols.filter((symbol) => isService(definition[symbol]!)),
    symbols,
    descriptor,
  }
})

export const serviceNames: readonly string[] = CONTRACTS.flatMap((file) => file.services)

export function serviceOf(name: string): ServiceDefinition {
  for (const definition of definitions) {
    const found = definition[name]
    if (found !== undefined && isService(found)) return found
  }
  throw new Error(`proto/ has no service "${name}"`)
}

function isService(definition: AnyDefinition): definition is ServiceDefinition {
  return !('format' in definition)
}

function descriptorOf(definitions: readonly AnyDefinition[]): Buffer {
  for (const each of definitions) if (!isService(each)) return each.fileDescriptorProtos[0]!
  throw new Error('A file of proto/ has no message')
}

/** At the top of the package, above build/ and src/. */
function protoFolder(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'proto', FILES[0]!))) return join(folder, 'proto')
    assert(dirname(folder) !== folder, 'The package has its folder proto/')
  }
}
