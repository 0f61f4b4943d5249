/** Waiting for events in tests: always for something, always with a deadline. */
const deadlineMs = 10_000

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

/** Until the claim holds. */
export async function until(claim: () => boolean | Promise<boolean>, what: string, ms: number = deadlineMs): Promise<void> {
  const from = performance.now()
  while (!(await claim())) {
    if (performance.now() - from > ms) throw new Error(`${what}: not within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Lets everything run that is ready, several times over: what has not happened after it needs an event from outside. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}
