/** Waiting for events in tests: always for something, always with a deadline, which a machine that is busy with other things must meet as well. */
const deadlineMs = 30_000

/** The promise's value, or a failure that says what did not happen. */
export async function within<T>(promise: Promise<T>, what: string, ms: number = deadlineMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Until the claim holds. Looks again soon at first, then less often: what is asked may cost more than what is waited for. */
export async function until(claim: () => boolean | Promise<boolean>, what: string, ms: number = deadlineMs): Promise<void> {
  const from = performance.now()
  for (let look = 0; !(await claim()); look++) {
    if (performance.now() - from > ms) throw new Error(`${what}: not within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, look < 20 ? 2 : 20))
  }
}

/** Lets everything run that is ready, several times over: what has not happened after it needs an event from outside. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}
