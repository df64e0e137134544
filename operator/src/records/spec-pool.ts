import type { EnvironmentSpec } from "@paddock/api/environment";
import type { RecordView } from "@paddock/api/wire/records";

/**
 * Gives views of one Environment's revision one spec between them: thousands of sessions would hold as many copies. A spec goes when its last
 * view has gone.
 */
export function createSpecPool(): (view: RecordView) => RecordView {
  const specs = new Map<string, WeakRef<EnvironmentSpec>>();
  const cleared = new FinalizationRegistry<string>((digest) => {
    if (specs.get(digest)?.deref() === undefined) specs.delete(digest);
  });
  return (view) => {
    const { bundle } = view;
    const { digest, spec } = bundle.environment;
    const known = specs.get(digest)?.deref();
    if (known !== undefined) return { ...view, bundle: { ...bundle, environment: { ...bundle.environment, spec: known } } };
    specs.set(digest, new WeakRef(spec));
    cleared.register(spec, digest);
    return view;
  };
}
