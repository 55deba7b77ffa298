"""What is shown of a saved result: tables, pictures, and the goals beside what was measured."""
