import { FieldReader, FieldWriter, LENGTH } from '../link/core/protobuf.ts'
import { DESCRIPTORS } from './descriptors.ts'
import { type Method, type Methods, STATUS } from './service.ts'

const FILE_BY_FILENAME = 3
const FILE_CONTAINING_SYMBOL = 4
const LIST_SERVICES = 7

/** The standard reflection service: what is served here, for tools that know no .proto file. */
export function reflectionMethods(): Methods {
  const method: Method = {
    message: (request, call) => call.write(reflect(request)),
    ended: (call) => call.end(STATUS.ok),
    closed() {},
  }
  return new Map([['/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', method]])
}

function reflect(request: Buffer): Buffer {
  const reader = new FieldReader(request)
  let question = 0
  let text = ''
  while (reader.next()) {
    if (reader.wireType !== LENGTH || reader.field < FILE_BY_FILENAME) continue
    question = reader.field
    text = reader.bytes.toString()
  }
  const response = new FieldWriter().message(2, request)
  if (question === LIST_SERVICES) return response.message(6, services()).finish()
  const file =
    question === FILE_BY_FILENAME
      ? DESCRIPTORS.find((each) => each.name === text)
      : question === FILE_CONTAINING_SYMBOL
        ? DESCRIPTORS.find((each) => each.symbols.some((symbol) => text === symbol || text.startsWith(`${symbol}.`)))
        : undefined
  if (file === undefined) return response.message(7, notFound(text)).finish()
  const files = new FieldWriter().message(1, Buffer.from(file.descriptor, 'base64')).finish()
  return response.message(4, files).finish()
}

function services(): Buffer {
  const list = new FieldWriter()
  for (const { services } of DESCRIPTORS) {
    for (const name of services) list.message(1, new FieldWriter().text(1, name).finish())
  }
  return list.finish()
}

function notFound(what: string): Buffer {
  return new FieldWriter().varint(1, STATUS.notFound).text(2, `"${what}" is not known here`).finish()
}
