/** Workflows as trees: drawn at random, built by what a user calls, and evaluated without any queue. */
import fc from 'fast-check'
import { chain, chord, group, type Sig } from '../../dist/index.js'

export type Tree =
  | { readonly kind: 'task'; readonly tag: string; readonly immutable: boolean }
  | { readonly kind: 'chain'; readonly steps: readonly Tree[] }
  | { readonly kind: 'group'; readonly members: readonly Tree[] }
  | { readonly kind: 'chord'; readonly header: readonly Tree[]; readonly body: Tree }

const task: fc.Arbitrary<Tree> = fc.record({
  kind: fc.constant('task' as const),
  tag: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  immutable: fc.nat({ max: 7 }).map((n) => n === 0),
})

/** Of at most this depth: a task has depth 0. */
export function trees(depth: number): fc.Arbitrary<Tree> {
  if (depth === 0) return task
  const inner = trees(depth - 1)
  const some = (minLength: number): fc.Arbitrary<Tree[]> => fc.array(inner, { minLength, maxLength: 3 })
  return fc.oneof(
    task,
    some(1).map((steps): Tree => ({ kind: 'chain', steps })),
    // A group of one is many things to Celery, by what stands around it: test/canvas holds each of them to what Python sends.
    some(2).map((members): Tree => ({ kind: 'group', members })),
    fc.tuple(some(0), inner).map(([header, body]): Tree => ({ kind: 'chord', header, body })),
  )
}

/** Every task gives its arguments: what came from before, if anything did, and its tag. */
export function build(tree: Tree, tagged: (tag: string, immutable: boolean) => Sig<unknown, unknown, true>): Sig<unknown, unknown, true> {
  const each = (all: readonly Tree[]): Sig<unknown, unknown, true>[] => all.map((one) => build(one, tagged))
  switch (tree.kind) {
    case 'task':
      return tagged(tree.tag, tree.immutable)
    case 'chain':
      return chain.from(each(tree.steps)) as unknown as Sig<unknown, unknown, true> // its steps take anything
    case 'group':
      return group(each(tree.members))
    case 'chord':
      return chord(group(each(tree.header)), build(tree.body, tagged))
  }
}

/**
 * What a workflow gives that is started with these arguments, as Celery has it: groups of groups are one group, and chains of chains one chain.
 */
export function evaluate(tree: Tree, before: readonly unknown[] = [], isWhole = true): unknown {
  switch (tree.kind) {
    case 'task':
      return tree.immutable ? [tree.tag] : [...before, tree.tag]
    case 'chain':
      if (bare(tree) !== tree) return evaluate(bare(tree), before, isWhole)
      return stepsOf(tree).reduce<readonly unknown[]>((given, step) => [evaluate(step, given, false)], before)[0]
    case 'group':
      return membersOf(tree.members, { reversing: !isWhole }).map((member) => evaluate(member, before, false))
    case 'chord':
      return evaluate(tree.body, [membersOf(tree.header, { reversing: true }).map((member) => evaluate(member, before, false))], false)
  }
}

function stepsOf({ steps }: Extract<Tree, { kind: 'chain' }>): readonly Tree[] {
  return steps.flatMap((step) => (step.kind === 'chain' ? stepsOf(step) : [step]))
}

/** A group inside of a group hands over its members: in their order, or, inside of anything else, the last of them first. */
function membersOf(members: readonly Tree[], { reversing }: { readonly reversing: boolean }): readonly Tree[] {
  return members.map(bare).flatMap((member) => {
    if (member.kind !== 'group') return [member]
    return membersOf(reversing ? member.members.toReversed() : member.members, { reversing })
  })
}

/** A chain of one step is that step, but a chain of one group is no group. */
function bare(tree: Tree): Tree {
  if (tree.kind !== 'chain') return tree
  const [only, ...others] = stepsOf(tree)
  return only === undefined || only.kind === 'group' || others.length > 0 ? tree : only
}
