import { sendsNothing } from './empty-group.js'
import type { GroupSig, Sig } from './sig.js'
import { chainOf, chordOf, composite, type Signature, signatureOf } from './signature.js'

type AnySig = Sig<never, unknown, boolean>
type AllPrev<S extends readonly AnySig[]> = S[number]['~prev'] extends (prev: infer P) => void ? P : never
type AllReady<S extends readonly AnySig[]> = false extends S[number]['~ready'] ? false : true
type AnyGroup = GroupSig<never, unknown, boolean>
/** Of each member its result; of a group that is a member, the results of its own: at run time all of them stand in one list. */
type Flat<M> = M extends AnyGroup ? (M['~result'] extends readonly (infer E)[] ? E : never) : M extends AnySig ? M['~result'] : never
type Results<S extends readonly unknown[]> =
  Extract<S[number], AnyGroup> extends never
    ? { -readonly [K in keyof S]: S[K] extends AnySig ? S[K]['~result'] : never }
    : Flat<S[number]>[]

/** a | b | c of Celery: each step gets the result of the step before it. Longer chains use `.pipe()`, or `chain.from(steps)` without type checks. */
export const chain: Chain = Object.assign((...steps: AnySig[]): never => typed(chainOf(steps.map(signatureOf))), {
  from: (steps: Iterable<AnySig>): never => typed(chainOf(Array.from(steps, signatureOf))),
})

/** All at the same time; the result is the list of their results. A group in a group hands over its members: theirs is one list. */
export const group: Group = (...sigs: readonly unknown[]): never => {
  const members = membersOf(sigs)
  return typed(composite('group', { tasks: members }, members, sendsNothing))
}

/**
 * A group whose list of results goes to `body` once every member has ended. With a header that is no group this is a chain of two: the body gets what the header gives.
 * An errback of the chord is told when the body fails, or cannot run because a member has failed.
 */
export function chord<P, H, R, Q extends boolean>(header: Sig<P, H, Q>, body: Sig<NoInfer<H>, R, boolean>): Sig<P, R, Q> {
  return typed(chordOf(signatureOf(header as AnySig), signatureOf(body as AnySig)))
}

interface Chain {
  <P, A, Q extends boolean>(a: Sig<P, A, Q>): Sig<P, A, Q>
  <P, A, B, Q extends boolean>(a: Sig<P, A, Q>, b: Sig<NoInfer<A>, B, boolean>): Sig<P, B, Q>
  <P, A, B, C, Q extends boolean>(a: Sig<P, A, Q>, b: Sig<NoInfer<A>, B, boolean>, c: Sig<NoInfer<B>, C, boolean>): Sig<P, C, Q>
  <P, A, B, C, D, Q extends boolean>(
    a: Sig<P, A, Q>,
    b: Sig<NoInfer<A>, B, boolean>,
    c: Sig<NoInfer<B>, C, boolean>,
    d: Sig<NoInfer<C>, D, boolean>,
  ): Sig<P, D, Q>
  <P, A, B, C, D, E, Q extends boolean>(
    a: Sig<P, A, Q>,
    b: Sig<NoInfer<A>, B, boolean>,
    c: Sig<NoInfer<B>, C, boolean>,
    d: Sig<NoInfer<C>, D, boolean>,
    e: Sig<NoInfer<D>, E, boolean>,
  ): Sig<P, E, Q>
  <P, A, B, C, D, E, F, Q extends boolean>(
    a: Sig<P, A, Q>,
    b: Sig<NoInfer<A>, B, boolean>,
    c: Sig<NoInfer<B>, C, boolean>,
    d: Sig<NoInfer<C>, D, boolean>,
    e: Sig<NoInfer<D>, E, boolean>,
    f: Sig<NoInfer<E>, F, boolean>,
  ): Sig<P, F, Q>
  <P, A, B, C, D, E, F, G, Q extends boolean>(
    a: Sig<P, A, Q>,
    b: Sig<NoInfer<A>, B, boolean>,
    c: Sig<NoInfer<B>, C, boolean>,
    d: Sig<NoInfer<C>, D, boolean>,
    e: Sig<NoInfer<D>, E, boolean>,
    f: Sig<NoInfer<E>, F, boolean>,
    g: Sig<NoInfer<F>, G, boolean>,
  ): Sig<P, G, Q>
  <P, A, B, C, D, E, F, G, H, Q extends boolean>(
    a: Sig<P, A, Q>,
    b: Sig<NoInfer<A>, B, boolean>,
    c: Sig<NoInfer<B>, C, boolean>,
    d: Sig<NoInfer<C>, D, boolean>,
    e: Sig<NoInfer<D>, E, boolean>,
    f: Sig<NoInfer<E>, F, boolean>,
    g: Sig<NoInfer<F>, G, boolean>,
    h: Sig<NoInfer<G>, H, boolean>,
  ): Sig<P, H, Q>
  /** The unchecked form, for steps that are made in a loop. */
  from(steps: Iterable<AnySig>): Sig<never, unknown, true>
}

interface Group {
  <const S extends readonly AnySig[]>(...sigs: S): GroupSig<AllPrev<S>, Results<S>, AllReady<S>>
  <P, R, Q extends boolean>(sigs: Iterable<GroupSig<P, readonly R[], Q>>): GroupSig<P, R[], Q>
  <P, R, Q extends boolean>(sigs: Iterable<Sig<P, R, Q>>): GroupSig<P, R[], Q>
}

function membersOf(sigs: readonly unknown[]): Signature[] {
  const [only] = sigs
  const iterable = sigs.length === 1 && isIterable(only) ? Array.from(only) : sigs
  return iterable.map((sig) => signatureOf(sig as AnySig))
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

/** What a composite takes and gives stands in the overloads above; the one class behind them cannot say it. */
function typed(signature: Signature): never {
  return signature as never
}
