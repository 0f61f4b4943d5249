/** Names and types, however deep; of a list its first element. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])]
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, item]) => [key, isOpen(key) ? 'anything' : shapeOf(item)]),
    )
  return value === null ? 'null' : typeof value
}

/** Depends on what was run, or is null where there is nothing. */
const isOpen = (key: string): boolean =>
  [
    'total',
    'transport_options',
    'alternates',
    'failover_strategy',
    'connect_timeout',
    'credential_provider',
    'args',
    'kwargs',
    'heartbeat',
    'userid',
    'login_method',
    'uri_prefix',
  ].includes(key)
