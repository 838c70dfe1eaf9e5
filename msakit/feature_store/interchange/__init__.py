"""Import from and export to the file formats of the field; nothing imported is ever executed."""
