/** URL schemes that mean Redis or a server that speaks its protocol. */
export const redisSchemes = ['redis', 'rediss', 'valkey', 'valkeys', 'redis+socket', 'socket', 'sentinel'] as const
