/** Names that the bench's certificate holds; each is carried in another way. */
export const HOSTS = { tunnel: "tunnel.bench.example", terminated: "terminated.bench.example", masked: "masked.bench.example" } as const;
