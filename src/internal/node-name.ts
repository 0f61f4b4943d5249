import { hostname } from 'node:os'

/** A worker's node name, as Celery expands it: `%h` host name, `%n` its part before the first dot, `%d` the rest; a name without @ is put before the host's. */
export function nodeName(format = 'celery@%h'): string {
  const host = hostname()
  const [short = host, ...domain] = host.split('.')
  const parts: Readonly<Record<string, string>> = { '%h': host, '%n': short, '%d': domain.join('.'), '%%': '%' }
  const name = format.replaceAll(/%[hnd%]/g, (part) => parts[part] ?? part)
  return name.includes('@') ? name : `${name}@${host}`
}
