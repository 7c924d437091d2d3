import { type ServerDuplexStream, status, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { CONTRACTS, serviceNames } from './contracts.ts'

/** One of them is set. */
interface Request {
  fileByFilename?: string
  fileContainingSymbol?: string
  listServices?: string
}

interface Response {
  originalRequest: Request
  fileDescriptorResponse?: { fileDescriptorProto: Buffer[] }
  listServicesResponse?: { service: { name: string }[] }
  errorResponse?: { errorCode: number; errorMessage: string }
}

/** Of one call. */
const UNREAD_ANSWERS_MAX = 64

/** The standard reflection service: what is served here, for tools that know no .proto file. */
export const reflectionMethods: UntypedServiceImplementation = {
  ServerReflectionInfo: (call: ServerDuplexStream<Request, Response>) => {
    call.on('data', (request: Request) => {
      if (call.writableEnded) return
      if (call.writableLength < UNREAD_ANSWERS_MAX) call.write({ originalRequest: request, ...reflect(request) })
      else call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'The answers are not read' })
    })
    call.on('end', () => call.end())
  },
}

function reflect({ fileByFilename, fileContainingSymbol, listServices }: Request): Omit<Response, 'originalRequest'> {
  if (listServices !== undefined) {
    return { listServicesResponse: { service: serviceNames.map((name) => ({ name })) } }
  }
  const file = CONTRACTS.find(
    ({ name, symbols }) =>
      name === fileByFilename ||
      symbols.some((symbol) => fileContainingSymbol === symbol || fileContainingSymbol?.startsWith(`${symbol}.`)),
  )
  if (file !== undefined) return { fileDescriptorResponse: { fileDescriptorProto: [file.descriptor] } }
  const what = fileByFilename ?? fileContainingSymbol ?? ''
  return { errorResponse: { errorCode: status.NOT_FOUND, errorMessage: `"${what}" is not known here` } }
}
