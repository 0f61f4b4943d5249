import { hostname } from 'node:os'

/** A worker's node name, as Celery expands it: `%h` host name, `%n` its part before the first dot, `%d` the rest; a name without @ is put before the host's. */
export function nodeName(format = 'celery@%h'): string {
  const host = hostname()
  const [short = host, ...domain] = host.split('.')
  const name = expanded(format, { '%h': host, '%n': short, '%d': domain.join('.') })
  return name.includes('@') ? name : `${name}@${host}`
}

/**
 * The path of a file of one worker (its log, its pid): `%n` is its name before the @, `%h` what comes after, `%d` the domain of that, `%p` the whole name.
 * `%i` and `%I`, Celery's number of a child process, are 0 and nothing: all processes of a worker share its files.
 */
export function nodePath(format: string, node: string): string {
  const [name = node, host = ''] = node.split('@')
  return expanded(format, { '%n': name, '%h': host, '%d': host.split('.').slice(1).join('.'), '%p': node, '%i': '0', '%I': '' })
}

function expanded(format: string, parts: Readonly<Record<string, string>>): string {
  return format.replaceAll(/%[a-zA-Z%]/g, (part) => (part === '%%' ? '%' : (parts[part] ?? part)))
}
