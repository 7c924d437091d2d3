import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Outcome, RangeChild } from '../range/range.ts'
import type { RangeHost } from './host.ts'
import type { Service } from './service.ts'

/** Tells the service's observer what an entry has brought; its writes are readable. */
export function tellObserver<Command, Response, Query, Answer, Effect>(
  outcome: Outcome<Response, Effect>,
  host: RangeHost<Command, Response, Query, Answer, Effect>,
  service: Service<Command, Response, Query, Answer, Effect>,
): void {
  const { index, nowMs, writes, effects, child, merged } = outcome
  if (writes.length > 0 || effects.length > 0) {
    const { reader } = host.range
    service.observer.applied(host.descriptor, { index, nowMs, writes, effects, leader: host.group.leads, reader })
  }
  if (child !== null) openChild(child, host, service)
  if (merged !== null) tellMerged(merged, host, service)
}

function openChild<Command, Response, Query, Answer, Effect>(
  child: RangeChild,
  parent: RangeHost<Command, Response, Query, Answer, Effect>,
  service: Service<Command, Response, Query, Answer, Effect>,
): void {
  const { observer } = service
  const { reader } = service.openChild(child, parent.group.leads).range
  if (observer.split !== undefined) observer.split(parent.descriptor, child.descriptor, reader)
  else observer.opened(child.descriptor, reader)
}

function tellMerged<Command, Response, Query, Answer, Effect>(
  right: RangeDescriptor,
  { descriptor, range }: RangeHost<Command, Response, Query, Answer, Effect>,
  { observer }: Service<Command, Response, Query, Answer, Effect>,
): void {
  if (observer.merged !== undefined) return observer.merged(descriptor, right, range.reader)
  observer.closed(right)
  observer.opened(descriptor, range.reader)
}
