import { run, succeeds } from "../command.ts";
import { internet, metadataAddress } from "../sink.ts";
import { nodeCidr, podCidr, serviceCidr } from "./layout.ts";

const table = ["inet", "paddock-fence"] as const;

/** Of what pods send, nothing leaves the machine: it stays among pods, services, the node and the sink, or is dropped. To be called before any pod runs. */
export async function makeFence(): Promise<void> {
  const within = [nodeCidr, podCidr, serviceCidr, internet, metadataAddress].join(", ");
  await run(["nft", "-f", "-"], {
    input: `table ${table.join(" ")} {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr ${podCidr} ip daddr != { ${within} } counter drop
  }
}
`,
  });
}

/** Removes the fence, if it is there. */
export async function removeFence(): Promise<void> {
  await succeeds(["nft", "delete", "table", ...table]);
}
