import { limitKeysHeader, lockHeader } from '../protocol/task-headers.js'
import type { Arguments } from './arguments.js'
import type { AppCore } from './core.js'
import { keysOf } from './limit-key.js'
import { templatesIn } from './limit-options.js'
import type { OutgoingCall } from './outgoing-call.js'

/** What a message says of the limits of its task, so that no worker need read its body for it; undefined for the many tasks without any. */
export function limitHeaders(
  { routes }: Pick<AppCore, 'routes'>,
  { definition, lock }: Pick<OutgoingCall, 'definition' | 'lock'>,
  queue: string | undefined,
  call: Arguments,
): Readonly<Record<string, unknown>> | undefined {
  const ofQueue = queue === undefined ? undefined : routes.limitsOf(queue)
  const options = definition?.options
  if (lock === undefined && ofQueue === undefined && options?.rateLimit === undefined && options?.concurrency === undefined)
    return undefined
  const templates = [...templatesIn(options ?? {}), ...templatesIn(ofQueue ?? {})]
  if (templates.length === 0 && lock === undefined) return undefined
  return {
    ...(templates.length === 0 ? {} : { [limitKeysHeader]: keysOf(templates, call, definition?.params ?? []) }),
    ...(lock === undefined ? {} : { [lockHeader]: { name: lock.name, ttl: lock.ttl } }),
  }
}
