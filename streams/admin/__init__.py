"""Administration of an installation: topics, ACLs and the doctor."""
