/** An error as text for people: its stack, its causes, the errors of an AggregateError. */

const maxLength = 64 * 1024
const maxErrors = 16

/** Never throws and never loops; null when there is no stack to tell. At most 64 Ki characters. */
export function traceback(error: unknown): string | null {
  if (!isError(error)) return null
  const parts: string[] = []
  append(error, '', parts, new Set())
  const text = parts.join('\n\n')
  return text.length > maxLength ? `${text.slice(0, maxLength)}\n... (cut)` : text
}

function append(error: unknown, heading: string, parts: string[], seen: Set<unknown>): void {
  if (seen.has(error) || seen.size >= maxErrors) return
  seen.add(error)
  parts.push(`${heading}${stackOf(error)}`)
  if (!isError(error)) return
  const cause: unknown = read(() => error.cause)
  if (cause !== undefined && cause !== null) append(cause, 'Caused by: ', parts, seen)
  const errors = read(() => (error instanceof AggregateError ? [...error.errors] : []))
  for (const inner of errors ?? []) append(inner, 'One of its errors: ', parts, seen)
}

function stackOf(error: unknown): string {
  const text = read(() => {
    if (!isError(error)) return String(error)
    return typeof error.stack === 'string' && error.stack !== '' ? error.stack : `${error.name}: ${error.message}`
  })
  return text ?? 'an error that cannot be shown'
}

/** As `instanceof`, also for a proxy that throws when it is asked. */
function isError(value: unknown): value is Error {
  return read(() => value instanceof Error) === true
}

/** What a getter of a strange error throws is not what the reader wants to know. */
function read<T>(get: () => T): T | undefined {
  try {
    return get()
  } catch {
    return undefined
  }
}
