import type { Registry } from '../app/registry.js'

export type PoolKind = 'prefork' | 'threads' | 'async' | 'solo'

/** The pools that registered tasks name, beside the one that all others run in. */
export function furtherPools(registry: Registry, main: PoolKind): readonly PoolKind[] {
  const named = registry.names().flatMap((name) => registry.need(name).options.pool ?? [])
  return [...new Set<PoolKind>(named)].filter((kind) => kind !== main).sort()
}
