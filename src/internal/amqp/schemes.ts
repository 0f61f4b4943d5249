/** URL schemes that mean a broker that speaks AMQP 0-9-1, in kombu's words. */
export const amqpSchemes = ['amqp', 'amqps', 'pyamqp'] as const
