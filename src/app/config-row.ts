/** What a row of the table of options is. */
import type { Address } from '../internal/address.js'
import type { Kind } from '../internal/option-kinds.js'

export type Group =
  | 'Broker and results'
  | 'Messages'
  | 'Message signing'
  | 'Routing'
  | 'Tasks'
  | 'Worker'
  | 'Events and remote control'
  | 'Beat'

export interface Row<In, Out> {
  readonly group: Group
  readonly kind: Kind<In, Out>
  readonly default: Default<Out>
  /** Celery's own default, where ours differs: `celeryDefaults` is made of these. */
  readonly celery?: Out
  /** What the option does, as its documentation and its flag's help say it. */
  readonly sentence: string
  /** Celery has no such option. */
  readonly own?: true
  /** The option's flag in Commander's notation, and the commands that take it. */
  readonly flag?: string
}

/** A default is a value, or is found from the options that were given; `says` tells how. */
type Default<Out> = { readonly value: Out } | { readonly says: string; find(given: { readonly brokerUrl: readonly Address[] }): Out }

export function row<In, Out>(
  group: Group,
  kind: Kind<In, Out>,
  defaultValue: NoInfer<Out>,
  rest: Omit<Row<In, NoInfer<Out>>, 'group' | 'kind' | 'default'>,
): Row<In, Out> {
  return { group, kind, default: { value: defaultValue }, ...rest }
}
